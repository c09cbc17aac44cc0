"""The stand-in reads and writes differencing VDI files, which QEMU cannot open."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bakery.testing.virtualbox import vdi

BLOCK, COUNT = 1024, 4


def write(path: Path, blocks: dict[int, bytes | int], *, kind: int) -> Path:
    """Write a VDI file with these blocks; a number stands in the map as it is."""
    head = bytearray(4096)
    struct.pack_into("<I", head, 0x40, vdi.SIGNATURE)
    struct.pack_into("<I", head, 0x4C, kind)
    struct.pack_into("<II", head, 0x154, 2048, 4096)
    struct.pack_into("<QII", head, 0x170, BLOCK * COUNT, BLOCK, 0)
    stored = [data for data in blocks.values() if isinstance(data, bytes)]
    struct.pack_into("<II", head, 0x180, COUNT, len(stored))
    for number in range(COUNT):
        block = blocks.get(number, vdi.ABSENT)
        place = stored.index(block) if isinstance(block, bytes) else block
        struct.pack_into("<I", head, 2048 + 4 * number, place)
    path.write_bytes(bytes(head) + b"".join(stored))
    return path


@pytest.fixture
def chain(tmp_path: Path) -> list[Path]:
    base = write(tmp_path / "base.vdi", {0: b"a" * BLOCK, 1: b"b" * BLOCK, 2: vdi.ZERO}, kind=1)
    top = write(tmp_path / "top.vdi", {1: b"B" * BLOCK}, kind=4)
    return [top, base]


def test_a_chain_is_read_as_one_disk(chain: list[Path], tmp_path: Path) -> None:
    vdi.flatten(chain, tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == b"a" * BLOCK + b"B" * BLOCK + bytes(2 * BLOCK)


def test_what_a_guest_changed_goes_into_the_uppermost_file_alone(chain: list[Path], tmp_path: Path) -> None:
    before = chain[1].read_bytes()
    raw = tmp_path / "raw"
    vdi.flatten(chain, raw)
    changed = bytearray(raw.read_bytes())
    changed[0:3], changed[BLOCK : BLOCK + 3], changed[3 * BLOCK : 3 * BLOCK + 3] = b"new", b"two", b"end"
    raw.write_bytes(changed)
    vdi.write_back(raw, chain)
    vdi.flatten(chain, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == bytes(changed)
    assert chain[1].read_bytes() == before
    top = vdi.Vdi(chain[0])
    assert top.map[2] == vdi.ABSENT, "what did not change takes no room"
    top.close()


def test_only_a_differencing_file_is_one(chain: list[Path], tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    assert [vdi.differencing(path) for path in (*chain, tmp_path / "short")] == [True, False, False]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="no VDI"):
        vdi.Vdi(tmp_path / "disk")
