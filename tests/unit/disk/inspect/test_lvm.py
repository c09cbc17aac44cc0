"""LVM's metadata, as the tools write them: which bytes of a disk are which volume."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bakery.disk.inspect.lvm import LogicalVolume, logical_volumes
from bakery.disk.inspect.volumes import DiskVolume, volumes
from bakery.util.context import WorkContext

START = 1 << 20
ID = "AbCdEf1234567890AbCdEf1234567890"
DASHED = "AbCdEf-1234-5678-90Ab-CdEf-1234-567890"
TEXT = f"""
my-vg {{ # a comment
	id = "x"
	seqno = 3
	format = "lvm2"
	status = ["RESIZEABLE", "READ", "WRITE"]
	flags = []
	extent_size = 8192
	physical_volumes {{
		pv0 {{
			id = "{DASHED}"
			device = "/dev/loop0 \\"quoted\\""
			pe_start = 2048
			pe_count = 99
		}}
		pv1 {{
			id = "another-disk"
			pe_start = 2048
		}}
	}}
	logical_volumes {{
		root {{
			segment_count = 1
			segment1 {{
				start_extent = 0
				extent_count = 5
				type = "striped"
				stripe_count = 1
				stripes = [
					"pv0", 2
				]
			}}
		}}
		two {{
			segment1 {{ extent_count = 1 type = "striped" stripe_count = 1 stripes = ["pv0", 0] }}
			segment2 {{ extent_count = 1 type = "striped" stripe_count = 1 stripes = ["pv0", 9] }}
		}}
		far {{
			segment1 {{ extent_count = 1 type = "striped" stripe_count = 1 stripes = ["pv1", 0] }}
		}}
		thin {{
			segment1 {{ extent_count = 1 type = "thin" }}
		}}
	}}
}}
contents = "Text Format Volume Group"
version = 1
"""
EXTENT = 8192 * 512


def write(path: Path, text: str = TEXT, *, at: int = 512, size: int = 65_536, magic: bytes = b"") -> Path:
    """A physical volume at START; the metadata begin `at` bytes into an area of `size`, and go on at its beginning."""
    data = bytearray(START + (2 << 20))
    label = struct.pack("<8sQII8s", b"LABELONE", 1, 0, 32, b"LVM2 001")
    header = ID.encode() + struct.pack("<QQQQQ", 1 << 30, 1 << 20, 0, 0, 0) + struct.pack("<QQQQ", 4096, size, 0, 0)
    data[START + 512 : START + 512 + len(label + header)] = label + header
    raw = text.encode() + b"\0"
    area = struct.pack("<I16sIQQ", 0, magic or b" LVM2 x[5A%r0N*>", 1, 4096, size) + struct.pack(
        "<QQII", at, len(raw), 0, 0
    )
    data[START + 4096 : START + 4096 + len(area)] = area
    first = raw[: size - at]
    data[START + 4096 + at : START + 4096 + at + len(first)] = first
    rest = raw[len(first) :]
    data[START + 4096 + 512 : START + 4096 + 512 + len(rest)] = rest or data[START + 4608 : START + 4608]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("at", [512, 65_536 - 300], ids=["in one piece", "around the end of the area"])
def test_a_volume_in_one_piece_is_a_range_of_the_disk(tmp_path: Path, at: int) -> None:
    root, two, far, thin = logical_volumes(write(tmp_path / "disk", at=at), START)
    assert root == LogicalVolume(group="my-vg", name="root", start=START + 2048 * 512 + 2 * EXTENT, size=5 * EXTENT)
    assert root.devices == ("/dev/my-vg/root", "/dev/mapper/my--vg-root")
    assert (two.start, two.size) == (None, 2 * EXTENT)
    assert (far.start, thin.start) == (None, None)


@pytest.mark.parametrize(
    ("text", "magic", "why"),
    [
        (TEXT, b"x" * 16, "format that we know"),
        (TEXT[:-200].replace("}", ""), b"", "too early|damaged"),
        ("my-vg { extent_size = \x01 }", b"", "cannot be read"),
    ],
)
def test_damaged_metadata_are_refused(tmp_path: Path, text: str, magic: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        logical_volumes(write(tmp_path / "disk", text, magic=magic), START)


def test_what_is_no_physical_volume_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="no label"):
        logical_volumes(path, 0)
    path.write_bytes(bytes(512) + b"LABELONE" + b"\xff" * 300 + bytes(4096))
    with pytest.raises(ValueError, match="header is damaged"):
        logical_volumes(path, 0)


def test_logical_volumes_stand_before_the_partition_that_they_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "disk")
    root = START + 2048 * 512 + 2 * EXTENT

    def told(words: list[str], *_: object, **__: object) -> str:
        if words[0] == "sfdisk":
            return f'{{"partitiontable": {{"partitions": [{{"node": "{path}1", "start": 2048, "size": 999}}]}}}}'
        return "TYPE=xfs\nUUID=u\n" if str(root) in words else "TYPE=LVM2_member\n"

    monkeypatch.setattr("bakery.disk.inspect.volumes.run", told)
    first, two, *_, partition = volumes(path, WorkContext(cache=tmp_path))
    assert first == DiskVolume(
        number=1,
        start=root,
        size=5 * EXTENT,
        kind="xfs",
        uuid="u",
        devices=("/dev/my-vg/root", "/dev/mapper/my--vg-root"),
    )
    assert first.name == "volume my-vg/root"
    assert two.kind == "a volume in several pieces"
    assert (partition.name, partition.kind) == ("partition 1", "")
    write(path, magic=b"x" * 16)
    (whole,) = volumes(path, WorkContext(cache=tmp_path))
    assert whole.kind == "LVM2_member"
