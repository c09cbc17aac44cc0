"""Which blocks of a disk changed while files were added and removed, without reading what did not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bakery.util.extents import stored_parts

if TYPE_CHECKING:  # a program that is started for each capture imports this
    from bakery.util.context import WorkContext

BLOCK = 4096
"""Bytes; `bakery.disk.ext4.FEATURES` says so, too."""
CHUNK = 256
"""Blocks that are compared at once."""


@dataclass(frozen=True, kw_only=True)
class BlockChanges:
    """Blocks, in ascending order, that are not what they were.

    Args:
        data: to be taken from the changed file.
        zeros: that shall read as zeros.
    """

    data: list[range]
    zeros: list[range]


def changes(
    before: Path, after: Path, *, free_before: Sequence[range], free_after: Sequence[range], work: WorkContext
) -> BlockChanges:
    """Compare a file system's metadata with the same after it was mounted and written to.

    What was free has no content that counts, and is taken as it is now. What is free now shall keep nothing. The rest
    was in use all the time: it is metadata, of which both files have the content, or part of a file that did not
    change, of which neither has. That holds as long as no block of a file was used anew after the file was removed:
    see `bakery.drivers.nspawn.layer_writer`.

    Args:
        before: the metadata, as `bakery.disk.ext4_metadata.extract` wrote it.
        after: a copy of it that was mounted and written to.
        free_before: the blocks that were free.
        free_after: the blocks that are free now.
        work: can cancel it.
    """
    stored_before, stored_after = stored(before), stored(after)
    taken = without(free_before, free_after)
    kept = without(without(union(stored_before, stored_after), free_before), free_after)
    return BlockChanges(
        data=union(both(taken, stored_after), differing(before, after, kept, work)),
        zeros=union(without(free_after, free_before), without(taken, stored_after)),
    )


def stored(path: Path) -> list[range]:
    """Return the blocks of a sparse file that are not holes; more of them where the file system cannot tell."""
    with path.open("rb") as file:
        parts = list(stored_parts(file.fileno(), os.fstat(file.fileno()).st_size))
    return union([range(start // BLOCK, -(-end // BLOCK)) for start, end in parts], [])


def copy_data(source: Path, to: int) -> None:
    """Write what a sparse file has stored to the same places of an open file or device."""
    with source.open("rb") as file:
        for part in _chunks(stored(source)):
            os.pwrite(to, os.pread(file.fileno(), len(part) * BLOCK, part.start * BLOCK), part.start * BLOCK)


def write_into(disk: Path, changed: BlockChanges, source: Path, *, start: int, work: WorkContext) -> None:
    """Change a raw disk.

    Args:
        disk: what is written to, in place.
        changed: what is to change; blocks count from `start`.
        source: where the changed data is, from its own start on.
        start: where on the disk block 0 is, in bytes; a multiple of a block.
        work: can cancel it.
    """
    first = start // BLOCK
    zeros = [range(first + part.start, first + part.stop) for part in changed.zeros]
    with source.open("rb") as file, disk.open("r+b", buffering=0) as out:
        for part in _chunks(both(zeros, stored(disk))):  # holes are zeros already, and stay holes
            os.pwrite(out.fileno(), bytes(len(part) * BLOCK), part.start * BLOCK)
        for part in _chunks(changed.data):
            work.cancel.check()
            data = os.pread(file.fileno(), len(part) * BLOCK, part.start * BLOCK)
            os.pwrite(out.fileno(), data, start + part.start * BLOCK)


def differing(one: Path, other: Path, blocks: Iterable[range], work: WorkContext) -> list[range]:
    """Return those of the blocks whose content is not the same in both files."""
    ranges: list[range] = []
    with one.open("rb") as first, other.open("rb") as second:
        for part in _chunks(blocks):
            work.cancel.check()
            size, at = len(part) * BLOCK, part.start * BLOCK
            mine, theirs = os.pread(first.fileno(), size, at), os.pread(second.fileno(), size, at)
            if mine != theirs:
                ranges += (
                    range(part.start + number, part.start + number + 1)
                    for number in range(len(part))
                    if mine[number * BLOCK : (number + 1) * BLOCK] != theirs[number * BLOCK : (number + 1) * BLOCK]
                )
    return union(ranges, [])


def _chunks(blocks: Iterable[range]) -> Iterator[range]:
    for part in blocks:
        for start in range(part.start, part.stop, CHUNK):
            yield range(start, min(start + CHUNK, part.stop))


def union(some: Iterable[range], others: Iterable[range]) -> list[range]:
    """Return the blocks of either list, neighbours as one range."""
    ranges: list[range] = []
    for part in sorted((part for part in (*some, *others) if part), key=lambda part: part.start):
        if ranges and part.start <= ranges[-1].stop:
            ranges[-1] = range(ranges[-1].start, max(ranges[-1].stop, part.stop))
        else:
            ranges.append(part)
    return ranges


def without(some: Sequence[range], others: Sequence[range]) -> list[range]:
    """Return the blocks of the first list that are not in the second; both ascending and without overlaps."""
    ranges: list[range] = []
    number = 0
    for part in some:
        start = part.start
        while number < len(others) and others[number].stop <= start:
            number += 1
        at = number
        while at < len(others) and others[at].start < part.stop:
            if others[at].start > start:
                ranges.append(range(start, others[at].start))
            start = max(start, others[at].stop)
            at += 1
        if start < part.stop:
            ranges.append(range(start, part.stop))
    return ranges


def both(some: Sequence[range], others: Sequence[range]) -> list[range]:
    """Return the blocks that are in both lists."""
    return without(some, without(some, others))
