"""What travels between a client and a worker past the scheduler: the project and images, by content, in pieces."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bakery.build.cluster.connection import Connection
from bakery.build.cluster.content import CHUNK
from bakery.errors import DriverError
from bakery.util.files import flush
from bakery.util.waiting import Cancel

TRIES: Final = 5
"""How often a transfer is begun again, from where it was."""
PAUSE: Final = 1.0


class Transfers:
    """Sends files to workers, each once, and fetches others.

    Args:
        connection: to the cluster.
        cancel: ends a transfer between two pieces.
    """

    def __init__(self, connection: Connection, cancel: Cancel) -> None:
        self._connection = connection
        self._cancel = cancel
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def send(self, worker: str, digest: str, file: Path) -> None:
        """Send a file; from where an earlier transfer broke off.

        Args:
            worker: its address.
            digest: the file's SHA-256.
            file: where it is.

        Raises:
            DriverError: it does not arrive whole.
        """
        with self._lock:
            alone = self._locks.setdefault((worker, digest), threading.Lock())
        with alone, file.open("rb") as opened:
            size = file.stat().st_size
            damaged = 0
            offset = 0
            while True:
                opened.seek(offset)
                piece = opened.read(CHUNK)
                last = offset + len(piece) >= size
                there = self._again(
                    lambda offset=offset, piece=piece, last=last: self._connection.call(  # type: ignore[misc]  # bound now
                        worker, "bake_put", digest=digest, offset=offset, data=piece, last=last
                    )
                )
                if there < 0:
                    return
                damaged += last and there == 0
                if damaged > 1:
                    raise DriverError(f"{file.name} does not arrive whole at {worker}", why="its digest is another")
                offset = there

    def fetch(self, worker: str, attempt: str, name: str, to: Path, *, sha256: str = "", size: int) -> None:
        """Fetch a file of a build, checked where its digest is known; on the disk, whole, when this returns.

        Raises:
            DriverError: it does not come, or is not what it should be.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(f".{to.name}.{attempt}.part")
        total = hashlib.sha256()
        with part.open("wb") as file:
            offset = 0
            while offset < size:
                piece = self._again(
                    lambda offset=offset: self._connection.call(  # type: ignore[misc]  # bound now
                        worker, "bake_get", attempt=attempt, path=name, offset=offset
                    )
                )
                if not piece:
                    break
                total.update(piece)
                if piece.count(0) == len(piece):
                    file.seek(len(piece), os.SEEK_CUR)
                else:
                    file.write(piece)
                offset += len(piece)
            file.truncate(offset)
        if offset != size or (sha256 and total.hexdigest() != sha256):
            part.unlink()
            raise DriverError(f"{to.name} did not come whole from {worker}", why=f"{offset} of {size} bytes came")
        flush(part)
        part.replace(to)
        flush(to.parent)

    def _again(self, call: Callable[[], Any]) -> Any:
        """Call; where a connection breaks, once more a little later."""
        for left in range(TRIES - 1, -1, -1):
            self._cancel.check()
            try:
                return call()
            except DriverError:
                if not left:
                    raise
                self._cancel.sleep(PAUSE)
        raise AssertionError("the loop returns or raises")
