"""What goes on beside a build: a machine is destroyed, and the next one's things are made, while the build goes on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
GENTLE = 10
"""Niceness of what shall not slow down a machine that boots: it gets what the machine leaves."""


class BackgroundTasks:
    """Work that was started and not yet waited for. Whoever starts some must call `wait` before the end."""

    def __init__(self) -> None:
        self._pools: dict[bool, ThreadPoolExecutor] = {}
        self._futures: list[Future[object]] = []

    def start(self, work: Callable[[], T], *, gentle: bool = False) -> Future[T]:
        """Start some work, and return its future.

        Args:
            work: what to do, in a thread of its own.
            gentle: whether everything else goes first; programs that it starts are as gentle.
        """
        if gentle not in self._pools:
            begin = be_gentle if gentle else None
            self._pools[gentle] = ThreadPoolExecutor(thread_name_prefix="aside", initializer=begin)
        future = self._pools[gentle].submit(work)
        self._futures.append(future)  # type: ignore[arg-type]  # nobody puts a result into it
        return future

    def wait(self) -> None:
        """Wait until all of it is done, however it ended; whoever started it asks for its result."""
        wait(self._futures)
        for pool in self._pools.values():
            pool.shutdown()
        self._pools.clear()


def be_gentle() -> None:
    """Lower this thread's priority for good. Linux alone has one for each thread (setpriority(2), "BUGS")."""
    if sys.platform == "linux":
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, max(GENTLE, os.getpriority(os.PRIO_PROCESS, me)))
