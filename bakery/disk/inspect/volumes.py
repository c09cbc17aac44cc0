"""From an image file to the file systems in it: unpacked where needed, partitions read, each one probed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bakery.disk.inspect.lvm import logical_volumes
from bakery.disk.inspect.tools import run
from bakery.util.context import WorkContext

LVM: Final = "LVM2_member"
PIECES: Final = "a volume in several pieces"
"""In the place of a kind: it is not a range of bytes, so that nothing can be read of it here."""


@dataclass(frozen=True, kw_only=True)
class DiskVolume:
    """A partition, or the whole disk where there is no partition table.

    Args:
        number: as in the partition table; 0 for the whole disk.
        start: its first byte on the disk.
        size: bytes.
        kind: what blkid calls its content: `ext4`, `vfat`, `LVM2_member`; empty where it knows none.
        uuid: the file system's; empty where it has none.
        label: the same.
        part_uuid: the partition's.
        devices: what else it may be called in fstab: `/dev/vg/root`.
        disk: which of the image's disks it is on, from 1.
    """

    number: int
    start: int
    size: int
    kind: str = ""
    uuid: str = ""
    label: str = ""
    part_uuid: str = ""
    devices: tuple[str, ...] = ()
    disk: int = 1

    @property
    def name(self) -> str:
        """As it is called in messages."""
        if self.devices:
            return f"volume {self.devices[0].removeprefix('/dev/')}"
        if self.disk > 1:
            return f"disk {self.disk}, partition {self.number}" if self.number else f"disk {self.disk}"
        return f"partition {self.number}" if self.number else "the disk"


@contextmanager
def raw_disk(image: Path, form: str, folder: Path | None, work: WorkContext) -> Generator[Path]:
    """Give the image as a raw file; a qcow2 is unpacked for as long as the block runs.

    One sparse copy is the quickest way that works everywhere: it is read several times, and neither FUSE nor nbd,
    which would save it, are there for everybody.
    """
    if form == "raw":
        yield image
        return
    with tempfile.TemporaryDirectory(prefix=".inspect-", dir=folder or image.parent) as name:
        raw = Path(name) / "disk.raw"
        work.waiting("unpacking the image for inspection")
        # -S 4k: whatever is zero becomes a hole, and holes are not searched. -W: in any order, by several threads.
        run(["qemu-img", "convert", "-f", form, "-O", "raw", "-S", "4k", "-W", str(image), str(raw)], work.cancel)
        yield raw


def volumes(disk: Path, work: WorkContext) -> tuple[DiskVolume, ...]:
    """Read the partition table, GPT or MBR, and probe what is in each partition, and in each logical volume of LVM.

    A physical volume comes behind its logical volumes: a byte that belongs to one of these is found there first.
    """
    size = disk.stat().st_size
    listing = run(["sfdisk", "--json", str(disk)], work.cancel, accept=(0, 1))
    if not listing.strip():
        return tuple(_with_logical(disk, _probe(disk, DiskVolume(number=0, start=0, size=size), work), work))
    table = json.loads(listing)["partitiontable"]
    unit = int(table.get("sectorsize", 512))
    parts = (
        DiskVolume(
            number=int(part["node"].removeprefix(str(disk)).lstrip("p")),
            start=part["start"] * unit,
            size=part["size"] * unit,
            part_uuid=part.get("uuid", "").lower(),
        )
        for part in table.get("partitions", [])
    )
    return tuple(found for volume in parts for found in _with_logical(disk, _probe(disk, volume, work), work))


def _with_logical(disk: Path, volume: DiskVolume, work: WorkContext) -> Iterator[DiskVolume]:
    """Yield the logical volumes in a partition, where it is a physical volume, and the partition itself."""
    if volume.kind != LVM:
        yield volume
        return
    try:
        inside = logical_volumes(disk, volume.start)
    except ValueError:
        yield volume  # whose kind says that nobody looked into it
        return
    for logical in inside:
        place = DiskVolume(
            number=volume.number, start=logical.start or 0, size=logical.size, devices=logical.devices, kind=PIECES
        )
        yield place if logical.start is None else _probe(disk, place, work)
    yield replace(volume, kind="")


def _probe(disk: Path, volume: DiskVolume, work: WorkContext) -> DiskVolume:
    place = ["--offset", str(volume.start), "--size", str(volume.size)]
    nothing_found = 2
    text = run(["blkid", "--probe", *place, "--output", "export", str(disk)], work.cancel, accept=(0, nothing_found))
    seen = {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}
    return replace(volume, kind=seen.get("TYPE", ""), uuid=seen.get("UUID", ""), label=seen.get("LABEL", ""))
