"""A file's digest, taken while the file is still being written: whoever waits for both waits for the longer one."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from bakery.util.context import WorkContext

CHUNK: Final = 1 << 20
LOOK: Final = 0.1
"""Seconds between two looks at the cancel token."""


class Hash(Protocol):
    """What `hashlib.new` returns; its own type has no public name."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class FollowingDigest:
    """Hash a file a step behind its writer, in a thread; while the `with` block lasts.

    Args:
        file: it need not be there yet.
        algorithm: as `hashlib` names it.
    """

    def __init__(self, file: Path, algorithm: str) -> None:
        self._file = file
        self._algorithm = algorithm
        self._changed = threading.Condition()
        self._state: Hash = hashlib.new(algorithm)
        self._hashed = self._written = 0
        self._closed = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._follow, name="digest", daemon=True)

    def __enter__(self) -> Self:
        """Begin to follow."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def wrote(self, size: int) -> None:
        """Say that the file's first `size` bytes are there to stay; fewer than before: it was begun anew."""
        with self._changed:
            if size < self._written:
                self._state, self._hashed = hashlib.new(self._algorithm), 0
            self._written = size
            self._changed.notify()

    def result(self, work: WorkContext) -> str:
        """Return the digest of the whole file, in hexadecimal, once nothing more is written.

        Raises:
            OSError: it cannot be read.
            Interrupted: when cancelled.
        """
        total = self._file.stat().st_size
        self.wrote(total)
        work.cancel.check()
        while not self._is_done(total):
            work.cancel.check()
            work.progress(f"checking {self._file.stem}", self._hashed, total)
        if self._error is not None:
            raise self._error
        return self._state.hexdigest()

    def _is_done(self, total: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._hashed == total or self._error is not None, LOOK)

    def _follow(self) -> None:
        try:
            while (piece := self._next()) is not None:
                self._take(*piece)
        except OSError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next(self) -> tuple[Hash, int, int] | None:
        """Wait for something to hash: what goes on, where, and how long it is; None when nobody wants more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._written > self._hashed)
            return None if self._closed else (self._state, self._hashed, min(CHUNK, self._written - self._hashed))

    def _take(self, state: Hash, start: int, size: int) -> None:
        with self._file.open("rb") as file:
            file.seek(start)
            data = file.read(size)
        state.update(data)
        with self._changed:
            if state is not self._state:  # the file was begun anew meanwhile
                return
            if len(data) < size:
                raise OSError(f"{self._file} became shorter while it was written")
            self._hashed += size
            self._changed.notify_all()
