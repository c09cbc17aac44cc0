"""Locks that many may share: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Flock:
    """A lock file, held shared (by users) or alone (by whoever makes or removes)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def try_shared(self) -> bool:
        """Hold it together with others; False where somebody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        """Hold it alone; False where anybody else holds it."""
        return self._try(fcntl.LOCK_EX)

    def _try(self, mode: int) -> bool:
        while True:
            fd = self._fd if self._fd is not None else os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._fd is None:
                    os.close(fd)
                return False
            self._fd = fd
            if self._current():
                return True
            self.release()  # somebody removed the file between our opening and our locking it: lock the new one

    def _current(self) -> bool:
        assert self._fd is not None  # noqa: S101  for the type checker; called with the lock held
        ours = os.fstat(self._fd)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def touch(self) -> None:
        """Note the time: the file's date says when it was last used."""
        if self._fd is not None:
            os.utime(self._fd)

    def remove(self) -> None:
        """Delete the file, held alone, and let go."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.release()

    def release(self) -> None:
        """Let go; safe to call twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
