"""Two qcow2 files as one: what a disk looked like, and what has changed since, joined without unpacking either.

The layout is from QEMU's docs/interop/qcow2.txt. Clusters of the upper file are moved to the end of the lower one as
they are, compressed ones too; tables and reference counts are written anew. So an image of which little has changed is
written as fast as its file can be copied.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bakery.errors import DriverError
from bakery.util.context import WorkContext

HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQIIB")
MAGIC = b"QFI\xfb"
VERSION = 3
ZSTD = 1
COMPRESSED_WITH_ZSTD = 1 << 3
"""The one incompatible feature that `qemu-img convert -c` sets."""
COUNT_ORDER = 4
"""Reference counts of 16 bits."""
COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1
OFFSET = 0x00FFFFFFFFFFFE00
SECTOR = 512
CHUNK = 1 << 20


@dataclass(frozen=True)
class Image:
    """A qcow2 file's header and tables.

    Args:
        path: the file.
        bits: a cluster has 2**bits bytes.
        size: bytes that a guest sees.
        l1_at: where the table of tables is.
        tables: for each of its entries where the table of clusters is, 0 for none.
        clusters: those tables, by their number.
    """

    path: Path
    bits: int
    size: int
    l1_at: int
    tables: array[int]
    clusters: dict[int, array[int]] = field(repr=False)

    @property
    def cluster(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.bits

    @classmethod
    def read(cls, path: Path) -> Image:
        """Read the tables.

        Raises:
            DriverError: it is not such a file as `qemu-img convert -c -o compression_type=zstd` writes.
        """
        with path.open("rb") as file:
            head = HEADER.unpack(file.read(HEADER.size))
            magic, version, _, _, bits, size, crypt, l1_size, l1_at, _, _, snapshots, _, features, *_ = head
            order, _, compression = head[-3:]
            if (magic, version, crypt, snapshots) != (MAGIC, VERSION, 0, 0) or order != COUNT_ORDER:
                raise DriverError(f"{path.name} is not a qcow2 file as we write it")
            if features != COMPRESSED_WITH_ZSTD or compression != ZSTD:
                raise DriverError(f"{path.name} is not compressed with zstd", why=f"its features are {features:#x}")
            file.seek(l1_at)
            tables = array("Q", (entry & OFFSET for entry in _entries(file.read(8 * l1_size))))
            clusters: dict[int, array[int]] = {}
            for number, at in enumerate(tables):
                if at:
                    file.seek(at)
                    clusters[number] = _entries(file.read(1 << bits))
        return cls(path, bits, size, l1_at, tables, clusters)

    def used(self, entry: int) -> Iterator[int]:
        """Yield the numbers of the clusters in the file that a cluster of the guest is stored in."""
        if entry & COMPRESSED:
            shift = 62 - (self.bits - 8)
            at = entry & ((1 << shift) - 1)
            sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1
            first = at & -SECTOR
            yield from range(first >> self.bits, ((first + sectors * SECTOR - 1) >> self.bits) + 1)
        elif entry & OFFSET:
            yield (entry & OFFSET) >> self.bits


def _entries(data: bytes) -> array[int]:
    """Numbers of 64 bits, big endian in the file."""
    table = array("Q", data)
    if sys.byteorder == "little":
        table.byteswap()
    return table


def packed(entries: array[int]) -> bytes:
    """Return numbers as they stand in the file: big endian, each as wide as the array's."""
    copy = array(entries.typecode, entries)
    if sys.byteorder == "little":
        copy.byteswap()
    return copy.tobytes()


def join(below: Path, above: Path, to: Path, work: WorkContext) -> str:
    """Write one file that shows `above` where it says something, and `below` elsewhere.

    Args:
        below: qcow2, compressed with zstd, that stands on nothing.
        above: the same, for as large a disk. Whatever it stands on is not looked at.
        to: the file to write.
        work: can cancel it.

    Returns:
        The SHA-256 of the new file, hexadecimal.

    Raises:
        DriverError: they do not fit together.
    """
    base, top = Image.read(below), Image.read(above)
    if (base.bits, base.size) != (top.bits, top.size):
        raise DriverError(f"{above.name} is not a change of {below.name}", why="their sizes differ")
    joined = _Joined(base, top)
    return joined.write(to, work)


class _Joined:
    """The new file, before it is written: the lower one, the upper one, then tables that neither had."""

    def __init__(self, base: Image, top: Image) -> None:
        self.base, self.top = base, top
        self.start = _up(base.path.stat().st_size, base.cluster)
        self.end = self.start + _up(top.path.stat().st_size, base.cluster)
        self.tables = array("Q", base.tables)
        self.patches: dict[int, bytes] = {}
        self.tail: list[bytes] = []
        clusters = {number: array("Q", table) for number, table in base.clusters.items()}
        for number, changed in top.clusters.items():
            self._merge(number, changed, clusters)
        self.patches[base.l1_at] = packed(array("Q", (at | COPIED if at else 0 for at in self.tables)))
        self._count(clusters)

    def _merge(self, number: int, changed: array[int], clusters: dict[int, array[int]]) -> None:
        table = clusters.setdefault(number, array("Q", bytes(self.base.cluster)))
        for place, entry in enumerate(changed):
            if entry & COMPRESSED or entry & OFFSET:
                table[place] = entry + self.start
            elif entry & ZERO:
                table[place] = ZERO
        if self.tables[number]:
            self.patches[self.tables[number]] = packed(table)
        else:
            self.tables[number] = self._append(packed(table))

    def _append(self, data: bytes) -> int:
        """Put whole clusters at the end, and return where."""
        at = self.end
        padded = data.ljust(_up(len(data), self.base.cluster), b"\0")
        self.tail.append(padded)
        self.end += len(padded)
        return at

    def _count(self, clusters: dict[int, array[int]]) -> None:
        """Count how often each cluster of the file is used, the counts' own clusters included."""
        base = self.base
        a_block = base.cluster // 2  # counts of 16 bits
        used = self.end >> base.bits
        blocks, slots = 0, 0
        while blocks * a_block < used + blocks + slots:  # more blocks are more clusters, which need counts as well
            blocks += 1
            slots = _up(8 * blocks, base.cluster) >> base.bits
        counts = array("H", bytes(blocks * base.cluster))
        own = [0, *range(base.l1_at >> base.bits, (base.l1_at + 8 * len(self.tables) - 1 >> base.bits) + 1)]
        for number in (*own, *(at >> base.bits for at in self.tables if at), *range(used, used + blocks + slots)):
            counts[number] += 1
        for table in clusters.values():
            for entry in table:
                if entry:
                    for number in base.used(entry):
                        counts[number] += 1
        first = self._append(packed(counts))
        table_at = self._append(packed(array("Q", range(first, first + blocks * base.cluster, base.cluster))))
        self.patches[0] = struct.pack(">QI", table_at, slots)

    def write(self, to: Path, work: WorkContext) -> str:
        """Write it in one go, and digest it on the way."""
        digest = hashlib.sha256()
        with to.open("wb") as out:
            for data in self._parts(work):
                digest.update(data)
                out.write(data)
        return digest.hexdigest()

    def _parts(self, work: WorkContext) -> Iterator[bytes]:
        table_of_counts = self.patches.pop(0)
        pending = sorted((*self.patches.items(), (48, table_of_counts)))  # 48: where the header says where counts are
        yield from _patched(self.base.path, self.start, pending, work)
        yield from _patched(self.top.path, self.end - self.start - sum(map(len, self.tail)), [], work)
        yield from self.tail


def _patched(path: Path, size: int, patches: list[tuple[int, bytes]], work: WorkContext) -> Iterator[bytes]:
    """Yield a file's content with some of its bytes replaced, and zeros after its end up to `size`."""
    at = 0
    with path.open("rb") as file:
        while at < size:
            work.cancel.check()
            data = file.read(min(CHUNK, size - at)) or bytes(min(CHUNK, size - at))
            yield _with(patches, data, at)
            at += len(data)


def _with(patches: list[tuple[int, bytes]], data: bytes, at: int) -> bytes:
    """Replace what patches say about the bytes from `at` on."""
    changed: bytearray | None = None
    for place, new in patches:
        start, end = max(place, at), min(place + len(new), at + len(data))
        if start < end:
            changed = bytearray(data) if changed is None else changed
            changed[start - at : end - at] = new[start - place : end - place]
    return data if changed is None else bytes(changed)


def _up(number: int, step: int) -> int:
    """Round up."""
    return -(-number // step) * step
