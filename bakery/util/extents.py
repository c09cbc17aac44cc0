"""The parts of a file that hold data, that are reserved, and that are holes: told apart, and copied as they are."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SECTOR: Final = 512
"""Bytes in a unit of `st_blocks`, on every file system."""
FIEMAP: Final = 0xC020660B
"""linux/fs.h, `FS_IOC_FIEMAP`: where a file's blocks are."""
HEADER: Final = struct.Struct("=QQLLLL")
EXTENT: Final = struct.Struct("=QQQQQLLLL")
BATCH: Final = 256
CHUNK: Final = 1 << 20
SMALLEST: Final = 1 << 20
"""Bytes below which holes are not worth the trouble."""
SYNC: Final = 0x1
LAST: Final = 0x1
"""linux/fiemap.h: the file's last extent."""
UNWRITTEN: Final = 0x800
"""The same: one that is reserved, and reads as zeros."""
NOT_HERE: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM})


def is_full(status: os.stat_result) -> bool:
    """Say whether a file has no holes: as many blocks are its own as its size needs."""
    return stat.S_ISREG(status.st_mode) and status.st_blocks * SECTOR >= status.st_size


def has_holes(path: str | Path, status: os.stat_result) -> bool:
    """Say whether a file has holes that are worth keeping; one that its file system compresses has none."""
    if not stat.S_ISREG(status.st_mode) or status.st_size < SMALLEST or is_full(status):
        return False
    with Path(path).open("rb", buffering=0) as file:
        return sum(end - start for start, end in stored_parts(file.fileno(), status.st_size)) < status.st_size


def stored_parts(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each part that is not a hole.

    Source: lseek(2), SEEK_DATA and SEEK_HOLE; where the file system knows no holes, the whole file is one part.
    Reserved blocks that nothing was written to count as holes.
    """
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            raise
        at = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield start, at


def reserved(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of each part that is reserved for a file and was never written, as fallocate(1) leaves it.

    Nothing where the file system cannot tell.
    """
    at, flags = 0, 0
    while not flags & LAST:
        request = bytearray(HEADER.size + BATCH * EXTENT.size)
        HEADER.pack_into(request, 0, at, (1 << 64) - 1 - at, SYNC, 0, BATCH, 0)
        try:
            fcntl.ioctl(descriptor, FIEMAP, request)
        except OSError as error:
            if error.errno in NOT_HERE:
                return
            raise
        count = HEADER.unpack_from(request)[3]
        if not count:
            return
        for number in range(count):
            start, _, length, _, _, flags, *_ = EXTENT.unpack_from(request, HEADER.size + number * EXTENT.size)
            if flags & UNWRITTEN:
                yield start, length
            at = start + length


def copy(source: Path, target: Path) -> None:
    """Copy a file's content within the kernel, into a new file: holes stay holes, and what is reserved is reserved.

    Raises:
        OSError: the disk is full.
    """
    with source.open("rb") as reader, target.open("xb") as writer:
        status = os.fstat(reader.fileno())
        for start, end in stored_parts(reader.fileno(), status.st_size):
            _copy_part(reader.fileno(), writer.fileno(), start, end)
        os.ftruncate(writer.fileno(), status.st_size)
        if os.fstat(writer.fileno()).st_blocks < status.st_blocks:
            for start, length in reserved(reader.fileno()):
                if (inside := min(length, status.st_size - start)) > 0:
                    os.posix_fallocate(writer.fileno(), start, inside)


def _copy_part(reader: int, writer: int, start: int, end: int) -> None:
    at = start
    while at < end:
        try:
            done = os.copy_file_range(reader, writer, end - at, at, at)
        except OSError as error:
            if error.errno not in {errno.EXDEV, *NOT_HERE}:
                raise
            done = _copy_bytes(reader, writer, at, end)
        if not done:
            return  # it became shorter
        at += done


def _copy_bytes(reader: int, writer: int, start: int, end: int) -> int:
    chunk = os.pread(reader, min(CHUNK, end - start), start)
    return os.pwrite(writer, chunk, start)
