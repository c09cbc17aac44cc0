"""qcow2 files that we write, read back by the format's own rules (QEMU's docs/interop/qcow2.txt)."""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.disk import qcow2_overlay, qcow2_splice
from bakery.disk.block_changes import BLOCK, BlockChanges
from bakery.disk.qcow2_splice import COMPRESSED, COPIED, OFFSET, SECTOR, ZERO, Image
from bakery.errors import DriverError, Interrupted
from bakery.util.context import WorkContext

WORK = WorkContext(cache=Path())
BITS = 9
CLUSTER = 1 << BITS
"""The smallest that the format knows: so a test's file has many tables."""
ENTRIES = CLUSTER // 8


# ---- a writer and a reader of the format ------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """One cluster of a guest: packed bytes, plain bytes, or zeros where there are none."""

    data: bytes = b""
    is_packed: bool = False


def make(path: Path, pieces: Mapping[int, Piece], *, clusters: int, header: Mapping[int, bytes] | None = None) -> Path:
    """Write a file as `qemu-img convert -c` does, but with plain clusters too. Reference counts are left out."""
    tables = -(-clusters // ENTRIES)
    l1_at = CLUSTER
    at = l1_at + -(-8 * tables // CLUSTER) * CLUSTER
    body = bytearray()
    l1 = [0] * tables
    l2: dict[int, list[int]] = {}
    for number in sorted({number // ENTRIES for number in pieces}):
        l1[number] = at | COPIED
        l2[number] = [0] * ENTRIES
        at += CLUSTER
    data_at = at
    for number, piece in sorted(pieces.items()):
        if not piece.data:
            entry = ZERO
        elif piece.is_packed:
            place = data_at + len(body)
            sectors = (place % SECTOR + len(piece.data) + SECTOR - 1) // SECTOR
            entry = COMPRESSED | (sectors - 1) << (62 - (BITS - 8)) | place
            body += piece.data
        else:
            body += bytes(-len(body) % CLUSTER)
            entry = data_at + len(body) | COPIED
            body += piece.data
        l2[number // ENTRIES][number % ENTRIES] = entry
    head = bytearray(
        qcow2_splice.HEADER.pack(
            *(b"QFI\xfb", 3, 0, 0, BITS, clusters * CLUSTER, 0, tables, l1_at, 0, 0, 0, 0),
            *(qcow2_splice.COMPRESSED_WITH_ZSTD, 0, 0, 4, 112, 1),
        )
    )
    for place, new in (header or {}).items():
        head[place : place + len(new)] = new
    whole = bytes(head).ljust(CLUSTER, b"\0") + struct.pack(f">{tables}Q", *l1)
    whole = whole.ljust(-(-len(whole) // CLUSTER) * CLUSTER, b"\0")
    for table in l2.values():
        whole += struct.pack(f">{ENTRIES}Q", *table)
    path.write_bytes(whole + bytes(body))
    return path


def read(path: Path) -> dict[int, Piece]:
    """Read what a file says of each cluster; packed ones come with what else is in their last sector."""
    image = Image.read(path)
    data = path.read_bytes()
    pieces: dict[int, Piece] = {}
    for number, table in image.clusters.items():
        for place, entry in enumerate(table):
            at, guest = entry & OFFSET, number * (image.cluster // 8) + place
            if entry & COMPRESSED:
                shift = 62 - (image.bits - 8)
                start = entry & ((1 << shift) - 1)
                sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1
                pieces[guest] = Piece(data[start : (start & -SECTOR) + sectors * SECTOR], is_packed=True)
            elif at:
                pieces[guest] = Piece(data[at : at + image.cluster])
            elif entry & ZERO:
                pieces[guest] = Piece()
    return pieces


def counts(path: Path) -> list[int]:
    """Read the reference counts of a file's clusters."""
    data = path.read_bytes()
    bits, table_at, slots = *struct.unpack_from(">I", data, 20), *struct.unpack_from(">QI", data, 48)
    cluster = 1 << bits
    blocks = [at for at in struct.unpack_from(f">{slots * cluster // 8}Q", data, table_at) if at]
    return [count for at in blocks for count in struct.unpack_from(f">{cluster // 2}H", data, at)]


def uses(path: Path) -> Counter[int]:
    """Count for each cluster of a file what refers to it: header, tables, data, counts."""
    image, data = Image.read(path), path.read_bytes()
    table_at, slots = struct.unpack_from(">QI", data, 48)
    used: Counter[int] = Counter([0])
    used.update(range(image.l1_at >> image.bits, (image.l1_at + 8 * len(image.tables) - 1 >> image.bits) + 1))
    used.update(range(table_at >> image.bits, (table_at >> image.bits) + slots))
    refcounts = struct.unpack_from(f">{slots * image.cluster // 8}Q", data, table_at)
    used.update(at >> image.bits for at in (*image.tables, *refcounts) if at)
    for table in image.clusters.values():
        for entry in table:
            used.update(image.used(entry))
    return used


PIECE = st.one_of(
    st.just(Piece()),
    st.builds(lambda data: Piece(data.ljust(CLUSTER, b"p")), st.binary(min_size=1, max_size=CLUSTER)),
    st.builds(lambda data: Piece(data, is_packed=True), st.binary(min_size=1, max_size=CLUSTER - 1)),
)
PIECES = st.dictionaries(st.integers(0, 3 * ENTRIES - 1), PIECE, max_size=40)


# ---- two files as one -------------------------------------------------------------------------------------------


@given(below=PIECES, above=PIECES)
@settings(max_examples=30)
def test_a_joined_file_shows_the_upper_one_where_it_says_something(
    below: dict[int, Piece], above: dict[int, Piece]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, clusters = Path(name), 3 * ENTRIES
        base = make(folder / "base", below, clusters=clusters)
        top = make(folder / "top", above, clusters=clusters)
        sha256 = qcow2_splice.join(base, top, folder / "joined", WORK)
        joined = read(folder / "joined")
        assert sha256 == hashlib.sha256((folder / "joined").read_bytes()).hexdigest()
        assert joined.keys() == below.keys() | above.keys()
        for number, wanted in {**below, **above}.items():
            piece = joined[number]
            assert piece.is_packed == wanted.is_packed
            assert piece.data[: len(wanted.data)] == wanted.data
        counted = counts(folder / "joined")
        assert {number: count for number, count in enumerate(counted) if count} == dict(uses(folder / "joined"))


def test_files_that_do_not_belong_together_are_not_joined(tmp_path: Path) -> None:
    base = make(tmp_path / "base", {}, clusters=ENTRIES)
    top = make(tmp_path / "top", {}, clusters=2 * ENTRIES)
    with pytest.raises(DriverError, match="top is not a change of base"):
        qcow2_splice.join(base, top, tmp_path / "joined", WORK)
    assert not (tmp_path / "joined").exists()


@pytest.mark.parametrize(
    ("place", "data", "what"),
    [
        (0, b"QFI\xfc", "is not a qcow2 file as we write it"),
        (4, struct.pack(">I", 2), "is not a qcow2 file as we write it"),
        (32, struct.pack(">I", 1), "is not a qcow2 file as we write it"),
        (60, struct.pack(">I", 1), "is not a qcow2 file as we write it"),
        (96, struct.pack(">I", 6), "is not a qcow2 file as we write it"),
        (72, struct.pack(">Q", 1), "is not compressed with zstd"),
        (104, b"\0", "is not compressed with zstd"),
    ],
)
def test_what_qemu_would_read_otherwise_is_refused(tmp_path: Path, place: int, data: bytes, what: str) -> None:
    """Another magic, version, encryption, snapshots, counts, features or compression."""
    other = make(tmp_path / "other", {}, clusters=ENTRIES, header={place: data})
    with pytest.raises(DriverError, match=what):
        Image.read(other)


def test_joining_ends_with_the_run(tmp_path: Path) -> None:
    base = make(tmp_path / "base", {0: Piece(b"x" * CLUSTER)}, clusters=ENTRIES)
    work = WorkContext(cache=tmp_path)
    work.cancel.set("Ctrl-C")
    with pytest.raises(Interrupted):
        qcow2_splice.join(base, base, tmp_path / "joined", work)


# ---- an overlay -------------------------------------------------------------------------------------------------

BLOCKS = st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 40), st.booleans()), max_size=8)


@given(parts=BLOCKS, start=st.integers(0, 3), seed=st.binary(min_size=1, max_size=4))
@settings(max_examples=30)
def test_an_overlay_says_what_changed_and_nothing_else(
    parts: list[tuple[int, int, bool]], start: int, seed: bytes
) -> None:
    data, zeros, at = list[range](), list[range](), 0
    for gap, length, is_data in sorted(parts):
        (data if is_data else zeros).append(range(at + gap % 300, at + gap % 300 + length))
        at += gap % 300 + length
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = b"".join((seed * (BLOCK + 2))[number % 3 :][:BLOCK] for number in range(at))
        (folder / "source").write_bytes(content)
        size = (start + at + 5) * BLOCK
        qcow2_overlay.write(
            folder / "overlay",
            BlockChanges(data=data, zeros=zeros),
            folder / "source",
            base=folder / "base.qcow2",
            size=size,
            start=start * BLOCK,
            work=WORK,
        )
        wanted = {start + block: content[block * BLOCK : (block + 1) * BLOCK] for part in data for block in part}
        wanted |= {start + block: b"" for part in zeros for block in part}
        assert overlay_of(folder / "overlay", size) == (bytes(folder / "base.qcow2"), wanted)
        assert (folder / "overlay").stat().st_mode & 0o777 == 0o600
        clusters = (folder / "overlay").stat().st_size // BLOCK
        counted = counts(folder / "overlay")
        assert (set(counted[:clusters]), set(counted[clusters:])) == ({1}, {0} if counted[clusters:] else set())


def overlay_of(path: Path, size: int) -> tuple[bytes, dict[int, bytes]]:
    """Read an overlay: what it stands on, and what it says of each cluster; empty bytes for zeros."""
    data = path.read_bytes()
    head = qcow2_overlay.HEADER.unpack_from(data)
    magic, version, name_at, name_size, bits, virtual, _, entries, l1_at = head[:9]
    assert (magic, version, 1 << bits, virtual) == (b"QFI\xfb", 3, BLOCK, size)
    assert struct.unpack_from(">II5s", data, head[-1]) == (0xE2792ACA, 5, b"qcow2")
    found: dict[int, bytes] = {}
    for number, at in enumerate(struct.unpack_from(f">{entries}Q", data, l1_at)):
        table = struct.unpack_from(f">{BLOCK // 8}Q", data, at & OFFSET) if at else ()
        for place, entry in enumerate(table):
            where = entry & OFFSET
            if where or entry & ZERO:
                found[number * (BLOCK // 8) + place] = data[where : where + BLOCK] if where else b""
    return data[name_at : name_at + name_size], found


def test_a_path_that_the_format_cannot_hold_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    deep = tmp_path / "/".join(["d" * 200] * 6)
    with pytest.raises(DriverError, match="too long a path for a qcow2 file") as raised:
        qcow2_overlay.write(
            tmp_path / "o",
            BlockChanges(data=[], zeros=[]),
            tmp_path / "source",
            base=deep,
            size=1 << 20,
            start=0,
            work=WORK,
        )
    assert "BAKERY_CACHE_DIR" in raised.value.hint


@pytest.mark.parametrize("blocks", range(2030, 2050))
def test_the_counts_own_clusters_are_counted_where_they_need_one_more(blocks: int) -> None:
    """A cluster holds 2048 counts: at this border one more cluster of counts is needed, and counted itself."""
    plan = qcow2_overlay._Plan.of(BlockChanges(data=[range(blocks)], zeros=[]), size=blocks * BLOCK, first=0)
    assert plan.data_at + plan.blocks <= plan.counts * qcow2_overlay.COUNTS
    assert plan.counts <= 2
