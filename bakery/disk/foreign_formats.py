"""Images of other hypervisors (OVA, VDI, VMDK, VHD) as a disk that can be looked into."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bakery.errors import DriverError
from bakery.util import tools
from bakery.util.context import WorkContext

QEMU_NAMES = {"vdi": "vdi", "vmdk": "vmdk", "vhd": "vpc", "ova": "vmdk"}
"""Formats that can be read, and qemu-img's names for the disk in them."""
COPY = 3 * 3600.0
"""Seconds for a copy of a whole disk."""


def block_device(path: Path, form: str) -> dict[str, Any]:
    """Describe an image's disk for QEMU's block layer; that of an appliance is read where it lies in the archive.

    Raises:
        DriverError: the appliance has no disk, or several.
    """
    disks = block_devices(path, form)
    if len(disks) != 1:
        raise DriverError(f"the appliance {path.name} has {len(disks)} disks", why="only one can be taken as a disk")
    return disks[0]


def block_devices(path: Path, form: str) -> list[dict[str, Any]]:
    """Describe all disks of an image, in the order in which an appliance has them.

    Raises:
        DriverError: the appliance has none.
    """
    options: dict[str, Any] = {"driver": QEMU_NAMES[form]}
    if form == "vhd":  # VirtualBox writes the size itself beside a geometry that rounds it down
        options["force_size_calc"] = "current_size"
    file: dict[str, Any] = {"driver": "file", "filename": str(path)}
    if form != "ova":
        return [{**options, "file": file}]
    return [
        {**options, "file": {"driver": "raw", "offset": offset, "size": size, "file": file}}
        for offset, size in _disks_in(path)
    ]


def _disks_in(appliance: Path) -> list[tuple[int, int]]:
    """Return where in an appliance's archive each disk begins, and how long it is, in bytes."""
    try:
        with tarfile.open(appliance, "r:") as archive:
            disks = [member for member in archive if member.name.lower().endswith(".vmdk")]
    except (OSError, tarfile.TarError) as error:
        raise DriverError(f"the appliance {appliance.name} cannot be read", why=str(error)) from error
    if not disks:
        raise DriverError(f"the appliance {appliance.name} has 0 disks", hint="is it an OVF in an archive of tar?")
    return [(disk.offset_data, disk.size) for disk in disks]


@contextmanager
def readable(path: Path, form: str, folder: Path, work: WorkContext) -> Generator[list[tuple[Path, str]]]:
    """Lend an image's disks as files that QEMU's tools and ours can read, with their formats.

    Args:
        path: the image.
        form: its format; qcow2 and raw are lent as they are.
        folder: where there is room for a copy.
        work: can cancel it.

    Raises:
        DriverError: it cannot be read.
    """
    if form not in QEMU_NAMES:
        yield [(path, form)]
        return
    with TemporaryDirectory(prefix=".disk-", dir=folder) as place:
        copies: list[tuple[Path, str]] = []
        for number, device in enumerate(block_devices(path, form), start=1):
            copy, source = Path(place) / f"disk-{number}.qcow2", f"json:{json.dumps(device)}"
            words: list[str | Path] = ["qemu-img", "convert", "-O", "qcow2", "-T", "unsafe", "-t", "unsafe"]
            tools.run([*words, source, copy], work, what=f"reading {path.name}", timeout=COPY)
            copies.append((copy, "qcow2"))
        yield copies
