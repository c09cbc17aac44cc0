"""What goes on beside a build: a machine is destroyed, and the next one's things are made, while the build goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


class BackgroundTasks:
    """Work that was started and not yet waited for. Whoever starts some must call `wait` before the end."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._futures: list[Future[object]] = []

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Start some work, and return its future."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(thread_name_prefix="aside")
        future = self._pool.submit(work)
        self._futures.append(future)  # type: ignore[arg-type]  # nobody puts a result into it
        return future

    def wait(self) -> None:
        """Wait until all of it is done, however it ended; whoever started it asks for its result."""
        wait(self._futures)
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
