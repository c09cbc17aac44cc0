"""The metadata of an ext4 file system without the content of its files: small, and enough to write more files into it.

A kernel that mounts such a skeleton finds every folder, owner and free block; only what files contain is missing, and
nobody reads that while files are added and removed. Block numbers here count from the file system's start.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bakery.disk.block_changes import BLOCK
from bakery.disk.layout import Layout
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.tools import run

FREE = re.compile(r"(?m)^  Free blocks: (.*)$")
MAGIC = 0xEF53
CLEAN = 1
"""The state of a file system that was unmounted in order and has no errors."""
DESCRIPTOR = 64
"""Bytes of a group's descriptor."""
META_GROUPS = 0x10
"""A feature by which descriptors are elsewhere."""
UNINITIALIZED = 0x2
"""The flag of a group whose bitmap was not written yet."""


def extract(disk: Path, to: Path, layout: Layout, work: WorkContext) -> None:
    """Write the root file system's metadata as a sparse file of the partition's size.

    Args:
        disk: a raw disk.
        to: the file to write.
        layout: where the disk's root is.
        work: can cancel it.

    Raises:
        DriverError: e2image fails.
    """
    words = ("e2image", "-r", "-o", str(layout.root.start), "-O", "0", disk, to)
    run(words, work, what="reading the file system's metadata", hint="apt install e2fsprogs")
    with to.open("r+b") as file:
        file.truncate(layout.root.size)


def free_blocks(file_system: Path, work: WorkContext) -> list[range]:
    """Return the free blocks of a file system that was unmounted, in ascending order.

    Raises:
        DriverError: dumpe2fs fails, or the file system has errors.
    """
    text = run(("dumpe2fs", file_system), work, what="reading the block bitmaps").decode(errors="replace")
    return parse_free_blocks(text)


def parse_free_blocks(text: str) -> list[range]:
    """Return the free blocks that dumpe2fs lists."""
    parts = (part.strip().partition("-") for line in FREE.findall(text) for part in line.split(",") if part.strip())
    return list(_joined(range(int(first), int(last or first) + 1) for first, _, last in parts))


def free_blocks_now(file_system: Path, before: Sequence[range]) -> list[range]:
    """Return the same of a file system that was written to since, by reading its bitmaps.

    dumpe2fs would tell, too, but it makes the kernel write the whole file to the disk.

    Args:
        file_system: that was unmounted.
        before: the blocks that were free when it was made.

    Raises:
        DriverError: it was not unmounted in order, has errors, or is none of ours.
    """
    with file_system.open("rb") as file:
        head = _Superblock.read(file.fileno())
        groups = (_group(file.fileno(), head, number, before) for number in range(head.groups))
        return list(_joined(part for group in groups for part in group))


@dataclass(frozen=True, kw_only=True)
class _Superblock:
    """What must be known to find the bitmaps.

    Args:
        blocks: how many there are.
        per_group: how many of them are in a group.
    """

    blocks: int
    per_group: int

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return -(-self.blocks // self.per_group)

    @classmethod
    def read(cls, file: int) -> _Superblock:
        """Read the kernel's `struct ext4_super_block`, as far as it matters."""
        data = os.pread(file, 1024, 1024)
        low, first, size, per_group = (struct.unpack_from("<I", data, at)[0] for at in (0x4, 0x14, 0x18, 0x20))
        magic, state, descriptor = (struct.unpack_from("<H", data, at)[0] for at in (0x38, 0x3A, 0xFE))
        incompatible, high = (struct.unpack_from("<I", data, at)[0] for at in (0x60, 0x150))
        if (magic, first, 1024 << size, descriptor) != (MAGIC, 0, BLOCK, DESCRIPTOR) or incompatible & META_GROUPS:
            raise DriverError("the file system is not as we make them")
        if state != CLEAN:
            raise DriverError("the file system was not written to its end", why=f"its state is {state:#x}")
        return cls(blocks=low | high << 32, per_group=per_group)


def _group(file: int, head: _Superblock, number: int, before: Sequence[range]) -> Iterator[range]:
    """Yield the free blocks of one group."""
    descriptor = os.pread(file, DESCRIPTOR, BLOCK + number * DESCRIPTOR)
    low, flags, high = (
        struct.unpack_from(kind, descriptor, at)[0] for kind, at in (("<I", 0), ("<H", 0x12), ("<I", 0x20))
    )
    start = number * head.per_group
    stop = min(start + head.per_group, head.blocks)
    if flags & UNINITIALIZED:  # it has no bitmap, since nothing was ever written to it
        yield from (range(max(part.start, start), min(part.stop, stop)) for part in before)
        return
    bitmap = os.pread(file, BLOCK, (low | high << 32) * BLOCK)
    bits = bin(int.from_bytes(bitmap, "little") | 1 << 8 * BLOCK)[:2:-1]
    for free in re.finditer("0+", bits[: stop - start]):
        yield range(start + free.start(), start + free.end())


def _joined(parts: Iterable[range]) -> Iterator[range]:
    """Yield ascending ranges, neighbours as one and without the empty ones."""
    pending = range(0)
    for part in filter(None, parts):
        if pending and part.start == pending.stop:
            pending = range(pending.start, part.stop)
            continue
        if pending:
            yield pending
        pending = part
    if pending:
        yield pending
