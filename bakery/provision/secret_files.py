"""Secrets for a program of this host: handed over in memory, never in its arguments, its environment or on a disk."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class SecretFiles:
    """Files that exist as long as `with` holds them, readable by this user alone.

    Args:
        folder: a private one, which goes afterwards.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[int] = []
        self._pipes: list[_Pipe] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget all of them."""
        for descriptor in self._open:
            os.close(descriptor)
        for pipe in self._pipes:
            pipe.end()
        self._open, self._pipes = [], []

    def pipe(self, text: str) -> str:
        """Return the path of a named pipe, from which each reader gets this text once: no disk ever holds it."""
        self._pipes.append(_Pipe(self._folder / f"secret-{len(self._pipes)}", text.encode()))
        return str(self._pipes[-1].path)

    def file(self, text: str) -> str:
        """Return a path for a reader that looks at its file's mode and reads it as it likes, as ssh does with keys.

        On Linux it is a piece of memory without a name, a descriptor of this process; elsewhere a file.
        """
        if sys.platform == "linux":
            descriptor = os.memfd_create("bakery", os.MFD_CLOEXEC)
            self._open.append(descriptor)
            os.fchmod(descriptor, 0o600)
            _write(descriptor, text.encode())
            return f"/proc/{os.getpid()}/fd/{descriptor}"
        path = self._folder / f"key-{len(list(self._folder.iterdir()))}"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return str(path)


class _Pipe:
    """A named pipe that is filled for each reader, by a thread."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self._data = path, data
        self._ended = False
        self._renew()
        self._thread = threading.Thread(target=self._serve, name="bakery-secret", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End it: whoever waits for a reader is given one."""
        self._ended = True
        while self._thread.is_alive():
            with suppress(FileNotFoundError):
                os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
            self._thread.join(0.05)

    def _serve(self) -> None:
        while not self._ended:
            descriptor = os.open(self.path, os.O_WRONLY)  # waits for a reader
            try:
                self._renew()  # first: else this reader could meet the next one's data
                with suppress(BrokenPipeError):
                    _write(descriptor, b"" if self._ended else self._data)
            finally:
                os.close(descriptor)

    def _renew(self) -> None:
        """Put a fresh pipe into the place, which another reader will open."""
        fresh = self.path.with_suffix(".new")
        os.mkfifo(fresh, 0o600)
        fresh.replace(self.path)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
