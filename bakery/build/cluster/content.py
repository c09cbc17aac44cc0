"""Files by what they hold: a worker's store of what was sent to it, each checked before it counts."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Final

from bakery.errors import UsageError
from bakery.util.context import WorkContext
from bakery.util.sparse_files import digest

CHUNK: Final = 4 << 20
"""Bytes that travel at once."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ContentStore:
    """Files named by their SHA-256. One that is on its way lies beside them under its digest and `.part`.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, name: str) -> Path:
        """Return where a file is, or would be.

        Raises:
            UsageError: the name is no digest.
        """
        if DIGEST.fullmatch(name) is None:
            raise UsageError(f"{name!r} is no SHA-256")
        return self.folder / name

    def has(self, name: str) -> bool:
        """Say whether a file is here, whole."""
        return self.path(name).exists()

    def received(self, name: str) -> int:
        """Return how many bytes of a file have come."""
        part = self._part(name)
        return part.stat().st_size if part.exists() else 0

    def put(self, name: str, offset: int, data: bytes, *, last: bool) -> int:
        """Take a piece of a file; return where the next one begins, -1 where the file is here, whole.

        One that does not fit is passed over.

        Args:
            name: the whole file's digest.
            offset: where the piece begins.
            data: the piece.
            last: whether the file ends with it. It is checked then; what is damaged begins anew, at 0.
        """
        with self._lock:
            if self.has(name):
                return -1
            if offset != self.received(name):
                return self.received(name)
            with self._part(name).open("ab") as file:
                file.write(data)
            if not last:
                return offset + len(data)
            if digest(self._part(name), "sha256", WorkContext(cache=self.folder)) != name:
                self._part(name).unlink()
                return 0
            self._part(name).rename(self.path(name))
            return -1

    def take(self, name: str, file: Path) -> None:
        """Have a file that is here already; as a second name of it where that can be."""
        if not self.has(name):
            os.link(file, self.path(name))

    def _part(self, name: str) -> Path:
        return self.path(name).with_suffix(".part")
