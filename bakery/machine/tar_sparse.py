"""A file with holes as a member of a tar stream, in GNU tar's own format: GNU tar, bsdtar and Python's tarfile read it.

The layout is that of `struct oldgnu_header` and `struct sparse_header` in GNU tar's tar.h.
"""

from __future__ import annotations

import os
import struct
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bakery.errors import TaskError
from bakery.util import extents
from bakery.util.streams import CHUNK

BLOCK: Final = 512
CHECKSUM: Final = slice(148, 156)
IN_HEADER: Final = 4
"""Parts that the header itself has room for; further ones stand in blocks behind it."""
IN_BLOCK: Final = 21
PARTS_AT: Final = 386
MORE_AT: Final = 482
SIZE_AT: Final = 483
MORE_IN_BLOCK: Final = 504
READS_IT: Final = "tar --version 2>/dev/null | head -n 1"
"""What says on a machine whether `knows` is true of it."""


def knows(version: str) -> bool:
    """Say whether a tar of this name reads the format; busybox's does not."""
    return "GNU tar" in version or "bsdtar" in version


def member(path: str, head: tarfile.TarInfo, size: int) -> Iterator[bytes]:
    """Yield a member of a tar stream: headers, the parts with data, padding.

    Args:
        path: the file.
        head: its name, owner, mode and time.
        size: bytes, holes included.

    Raises:
        TaskError: it became shorter.
    """
    parts = _parts(path, size)
    if not parts or parts[-1][1] < size:
        parts.append((size, size))  # where the last hole ends
    head.type, head.size = tarfile.GNUTYPE_SPARSE, sum(end - start for start, end in parts)
    blocks = bytearray(head.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    _describe(blocks, parts, size)
    yield bytes(blocks)
    with Path(path).open("rb", buffering=0) as file:
        for start, end in parts:
            for at in range(start, end, CHUNK):
                data = os.pread(file.fileno(), min(CHUNK, end - at), at)
                if len(data) < min(CHUNK, end - at):
                    raise TaskError(f"{path} became shorter while it was copied")
                yield data
    yield bytes(-head.size % BLOCK)


def _parts(path: str, size: int) -> list[tuple[int, int]]:
    """Return the parts that are no holes, from one block's start to another's: GNU tar takes whole blocks of each."""
    with Path(path).open("rb", buffering=0) as file:
        parts = [
            (start // BLOCK * BLOCK, min(size, -(-end // BLOCK) * BLOCK))
            for start, end in extents.stored_parts(file.fileno(), size)
        ]
    joined: list[tuple[int, int]] = []
    for start, end in parts:
        if joined and start <= joined[-1][1]:
            start = joined.pop()[0]  # noqa: PLW2901  two parts that share a block are one
        joined.append((start, end))
    return joined


def _describe(blocks: bytearray, parts: Sequence[tuple[int, int]], size: int) -> None:
    """Write into the last block, which is the header, where the parts belong; append blocks for what has no room."""
    header = len(blocks) - BLOCK
    blocks[header + PARTS_AT : header + MORE_AT] = _table(parts[:IN_HEADER], IN_HEADER)
    blocks[header + MORE_AT] = len(parts) > IN_HEADER
    blocks[header + SIZE_AT : header + SIZE_AT + 12] = _number(size)
    place = slice(header + CHECKSUM.start, header + CHECKSUM.stop)
    blocks[place] = b" " * 8
    blocks[place] = b"%06o\0 " % sum(blocks[header : header + BLOCK])
    for at in range(IN_HEADER, len(parts), IN_BLOCK):
        more = bytearray(_table(parts[at : at + IN_BLOCK], IN_BLOCK).ljust(BLOCK, b"\0"))
        more[MORE_IN_BLOCK] = at + IN_BLOCK < len(parts)
        blocks += more


def _table(parts: Sequence[tuple[int, int]], room: int) -> bytes:
    return b"".join(_number(start) + _number(end - start) for start, end in parts).ljust(room * 24, b"\0")


def _number(value: int) -> bytes:
    """Eleven octal digits, or GNU's binary form where they do not suffice."""
    return b"%011o\0" % value if value < 8**11 else b"\x80\0\0\0" + struct.pack(">Q", value)
