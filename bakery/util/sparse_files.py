"""The bytes of large files: hashed, copied without their holes, and what happens when the disk is full."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bakery.errors import BakeryError, PreflightError
from bakery.util.context import WorkContext

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

CHUNK = 1 << 20
TICK = 0.25
SMALLEST_HOLE = 4096


def digest(path: Path, algorithm: str, work: WorkContext) -> str:
    """Hash a file; says how far it is when that takes long."""
    state = hashlib.new(algorithm)
    total, last = path.stat().st_size, time.monotonic()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            work.cancel.check()
            state.update(chunk)
            if time.monotonic() - last > TICK:
                last = time.monotonic()
                work.progress(f"checking {path.name}", file.tell(), total)
    return state.hexdigest()


def copy_sparse(source: IO[bytes], to: IO[bytes], work: WorkContext, *, what: str, total: int = 0) -> None:
    """Copy, leaving out blocks of zeros; says how far it is."""
    last, zeros, size = 0.0, bytes(CHUNK), 0
    while chunk := source.read(CHUNK):
        work.cancel.check()
        size += len(chunk)
        if chunk == zeros[: len(chunk)]:
            to.seek(len(chunk), 1)
        else:
            to.write(chunk)
        if time.monotonic() - last > TICK:
            last = time.monotonic()
            work.progress(what, size, total)
    to.truncate(size)


class SparseWriter(io.RawIOBase):
    """Writes to a file that is empty and can be sought in, and leaves holes where only zeros come."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends_in_hole = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Write on; `end` must follow the last."""
        piece = bytes(data)
        self._ends_in_hole = piece.count(0) == len(piece) >= SMALLEST_HOLE
        if self._ends_in_hole:
            self._file.seek(len(piece), os.SEEK_CUR)
        else:
            self._file.write(piece)
        return len(piece)

    def end(self) -> None:
        """Give the file its length."""
        if self._ends_in_hole:
            self._file.truncate(self._file.tell())


def must_fit(folder: Path, size: int) -> None:
    """Look for space before it is used up.

    Raises:
        PreflightError: `size` bytes do not fit into `folder`.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PreflightError(
            f"the disk under {folder} is too full",
            why=f"{size >> 20} MiB are needed, {free >> 20} MiB are free",
            hint="free some space, run `bake cache prune`, or set BAKERY_CACHE_DIR to a larger disk",
        )


@contextmanager
def disk_space(folder: Path) -> Generator[None]:
    """Tell a full disk as what it is.

    Raises:
        PreflightError: when the block runs out of space.
    """
    try:
        yield
    except BakeryError:
        raise
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise PreflightError(
            f"the disk under {folder} is full",
            why=str(error),
            hint="free some space, run `bake cache prune`, or set BAKERY_CACHE_DIR to a larger disk",
        ) from error


def describe(path: Path) -> str:
    """Return a hint for a file with the wrong content: a web page in place of an image is the usual case."""
    with path.open("rb") as file:
        head = file.read(200)
    text = head.decode("ascii", errors="replace").strip().lower()
    if text.startswith(("<!doctype", "<html", "<?xml")):
        return "\nit is a web page, not an image: a login page or an error page, perhaps"
    return "\nit is empty" if not head else ""
