"""A machine's disks beside the first: made with it, written with its image, there again on every machine of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bakery.disk import image_files
from bakery.disk.partitions import Disk
from bakery.disk.qemuimg import Compression, Format
from bakery.disk.reserve import label
from bakery.drivers.qemu.layers import DISK, Layer, Layers, add, empty, further, node
from bakery.drivers.qemu.source import Qemu
from bakery.model import Artifact, Checkpoint
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class FurtherDisk:
    """A disk that a machine is to have.

    Args:
        name: `disk2`; what the guest sees as its serial number.
        below: what it stands on: the same disk of the image that the machine boots; empty for a new one.
        wanted: what a new one is like.
    """

    name: str
    below: tuple[Layer, ...] = ()
    wanted: Disk | None = None


def disks_for(boot: Qemu | Artifact | Checkpoint) -> list[FurtherDisk]:
    """Return the further disks of a machine: those of what it boots, then those that its source adds."""
    image = boot.base if isinstance(boot, Qemu) else boot
    files = image_files.disks_of(image) if isinstance(image, Artifact) and image.id.startswith("/") else {}
    form: Format = "raw" if isinstance(image, Artifact) and image.format == "raw" else "qcow2"
    there = [FurtherDisk(name=name, below=(Layer(str(path), form),)) for name, path in files.items()]
    own = boot.disks if isinstance(boot, Qemu) else ()
    first = len(there) + 2
    return [*there, *(FurtherDisk(name=f"{DISK}{number}", wanted=disk) for number, disk in enumerate(own, first))]


def make(disks: Iterable[FurtherDisk], claim: Claim) -> Mapping[str, tuple[Layer, ...]]:
    """Make the files that a machine writes to, with partition tables on those that are new and have partitions.

    Returns:
        All layers of each disk, by its name.

    Raises:
        DriverError: a disk of the image is gone, or its partitions have no room.
    """
    made: dict[str, tuple[Layer, ...]] = {}
    for disk in disks:
        layers = _made(disk, claim)
        layers.write(claim.folder, disk.name)
        made[disk.name] = layers.all(claim.folder)
    return made


def _made(disk: FurtherDisk, claim: Claim) -> Layers:
    if disk.wanted is None:
        return add(claim.folder, disk.below, size=0, work=claim, disk=disk.name)
    layers = empty(claim.folder, disk.name, disk.wanted.bytes, claim)
    if disk.wanted.layout:
        label(claim.folder / layers.top, disk.wanted.bytes, disk.wanted.layout, claim)
    return layers


def with_further_disks(image: Artifact, machine: Path, claim: Claim, compression: Compression) -> Artifact:
    """Write the further disks of a machine that is powered off beside its image, as parts of it."""
    for name in further(machine):
        disk = node(Layers.read(machine, name).all(machine))
        image = image_files.with_disk(image, name, disk, claim=claim, compression=compression)
    return image
