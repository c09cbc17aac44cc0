"""Room on a disk that is set aside beforehand, so that what must be written down can be when the disk is full."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Final

_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE; source: linux/falloc.h."""


def reserve_behind(file: int, size: int) -> None:
    """Set room aside behind the end of a file, which stays where it is. Where the system cannot, nothing happens.

    Args:
        file: a descriptor that can be written to.
        size: bytes.

    Raises:
        OSError: the disk is full.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    offsets = ctypes.c_longlong(os.fstat(file).st_size), ctypes.c_longlong(size)
    if libc.fallocate(ctypes.c_int(file), ctypes.c_int(_KEEP_SIZE), *offsets):
        number = ctypes.get_errno()
        if number in (ENOSPC, EDQUOT):
            raise OSError(number, os.strerror(number))


@contextmanager
def spare(path: Path, size: int) -> Generator[None]:
    """Hold so much room by a file that goes with the block.

    Raises:
        OSError: the disk is full.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(file, 0, size)
        yield
    finally:
        os.close(file)
        path.unlink(missing_ok=True)
