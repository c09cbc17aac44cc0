"""A qcow2 file that stands on an image and says which of its blocks changed; QEMU reads both as one disk.

The layout is from QEMU's docs/interop/qcow2.txt. Its clusters are as small as a file system's blocks, so that it says
nothing about a block that did not change.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bakery.disk.block_changes import BLOCK, BlockChanges
from bakery.disk.qcow2_splice import COPIED, COUNT_ORDER, MAGIC, VERSION, ZERO, packed
from bakery.errors import DriverError
from bakery.util.context import WorkContext

HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
EXTENSION = struct.Struct(">II")
BACKING_FORMAT = 0xE2792ACA
CLUSTER_BITS = BLOCK.bit_length() - 1
ENTRIES = BLOCK // 8
"""Entries in one table of clusters."""
COUNTS = BLOCK // 2
"""Reference counts of 16 bits in one cluster."""
CHUNK = 256
"""Blocks that are copied at once."""


def write(
    to: Path, changes: BlockChanges, source: Path, *, base: Path, size: int, start: int, work: WorkContext
) -> None:
    """Write an overlay of `base`.

    Args:
        to: the file to write.
        changes: what it says; blocks count from `start`.
        source: where the changed data is, from its own start on.
        base: a qcow2 file.
        size: bytes that a guest sees.
        start: where on the disk block 0 is, in bytes; a multiple of a block.
        work: can cancel it.

    Raises:
        DriverError: the base's path is too long for the format.
    """
    plan = _Plan.of(changes, size=size, first=start // BLOCK)
    with to.open("wb") as out, source.open("rb") as file:
        to.chmod(0o600)
        out.write(_padded(_header(plan, base, size)))
        out.writelines(_padded(table) for table in plan.tables())
        for part in _chunks(changes.data):
            work.cancel.check()
            out.write(os.pread(file.fileno(), len(part) * BLOCK, part.start * BLOCK))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Where in the file everything is, in clusters.

    Args:
        clusters: tables of clusters by their number, each with its entries: which block of data, or None for zeros.
        blocks: how many clusters of data there are.
        tables_of_tables: clusters of the table of tables.
        length: its entries.
        counts: clusters of reference counts.
        slots: clusters of the table of those.
    """

    clusters: dict[int, dict[int, int | None]]
    blocks: int
    tables_of_tables: int
    length: int
    counts: int
    slots: int

    @classmethod
    def of(cls, changes: BlockChanges, *, size: int, first: int) -> _Plan:
        """Give every changed block its place."""
        clusters: dict[int, dict[int, int | None]] = {}
        for number, block in enumerate(block for part in changes.data for block in part):
            clusters.setdefault((first + block) // ENTRIES, {})[(first + block) % ENTRIES] = number
        for block in (block for part in changes.zeros for block in part):
            clusters.setdefault((first + block) // ENTRIES, {})[(first + block) % ENTRIES] = None
        blocks = sum(map(len, changes.data))
        length = -(-size // (BLOCK * ENTRIES))
        tables = -(-8 * length // BLOCK)
        used = 1 + tables + len(clusters) + blocks
        counts = slots = 0
        while counts * COUNTS < used + counts + slots:  # more counts are more clusters, which need counts as well
            counts += 1
            slots = -(-8 * counts // BLOCK)
        return cls(clusters=clusters, blocks=blocks, tables_of_tables=tables, length=length, counts=counts, slots=slots)

    @property
    def counts_at(self) -> int:
        """The table of reference counts."""
        return 1 + self.tables_of_tables

    @property
    def clusters_at(self) -> int:
        """The first table of clusters."""
        return self.counts_at + self.slots + self.counts

    @property
    def data_at(self) -> int:
        """The first cluster of data."""
        return self.clusters_at + len(self.clusters)

    def tables(self) -> Iterator[bytes]:
        """Yield what is between the header and the data."""
        table = array("Q", bytes(8 * self.length))
        for place, number in enumerate(self.clusters):
            table[number] = (self.clusters_at + place) * BLOCK | COPIED
        yield packed(table)
        first = self.counts_at + self.slots
        yield packed(array("Q", (at * BLOCK for at in range(first, first + self.counts))))
        used = self.data_at + self.blocks
        yield packed(array("H", [1] * used + [0] * (self.counts * COUNTS - used)))
        for entries in self.clusters.values():
            table = array("Q", bytes(BLOCK))
            for place, data in entries.items():
                table[place] = ZERO if data is None else (self.data_at + data) * BLOCK | COPIED
            yield packed(table)


def _header(plan: _Plan, base: Path, size: int) -> bytes:
    name, kind = bytes(base.absolute()), b"qcow2"
    extensions = EXTENSION.pack(BACKING_FORMAT, len(kind)) + kind.ljust(8, b"\0") + EXTENSION.pack(0, 0)
    at = HEADER.size + len(extensions)
    if len(name) > min(1023, BLOCK - at):
        raise DriverError(f"{base} has too long a path for a qcow2 file", hint="set BAKERY_CACHE_DIR to a shorter one")
    fields = (
        *(MAGIC, VERSION, at, len(name), CLUSTER_BITS, size, 0, plan.length, BLOCK),
        *(plan.counts_at * BLOCK, plan.slots, 0, 0, 0, 0, 0, COUNT_ORDER, HEADER.size),
    )
    return HEADER.pack(*fields) + extensions + name


def _padded(data: bytes) -> bytes:
    """Fill up whole clusters."""
    return data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")


def _chunks(blocks: Iterable[range]) -> Iterator[range]:
    for part in blocks:
        for start in range(part.start, part.stop, CHUNK):
            yield range(start, min(start + CHUNK, part.stop))
