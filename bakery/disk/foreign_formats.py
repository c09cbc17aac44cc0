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
    options: dict[str, Any] = {"driver": QEMU_NAMES[form]}
    if form == "vhd":  # VirtualBox writes the size itself beside a geometry that rounds it down
        options["force_size_calc"] = "current_size"
    file: dict[str, Any] = {"driver": "file", "filename": str(path)}
    if form == "ova":
        offset, size = _disk_in(path)
        file = {"driver": "raw", "offset": offset, "size": size, "file": file}
    return {**options, "file": file}


def _disk_in(appliance: Path) -> tuple[int, int]:
    """Return where in an appliance's archive its disk begins, and how long it is, in bytes."""
    try:
        with tarfile.open(appliance, "r:") as archive:
            disks = [member for member in archive if member.name.lower().endswith(".vmdk")]
    except (OSError, tarfile.TarError) as error:
        raise DriverError(f"the appliance {appliance.name} cannot be read", why=str(error)) from error
    if len(disks) != 1:
        raise DriverError(
            f"the appliance {appliance.name} has {len(disks)} disks",
            why="only one can be looked into",
            hint="@bakery.image(hygiene=False) leaves that out",
        )
    return disks[0].offset_data, disks[0].size


@contextmanager
def readable(path: Path, form: str, folder: Path, work: WorkContext) -> Generator[tuple[Path, str]]:
    """Lend an image as a file that QEMU's tools and ours can read, with its format.

    Args:
        path: the image.
        form: its format; qcow2 and raw are lent as they are.
        folder: where there is room for a copy.
        work: can cancel it.

    Raises:
        DriverError: it cannot be read.
    """
    if form not in QEMU_NAMES:
        yield path, form
        return
    with TemporaryDirectory(prefix=".disk-", dir=folder) as place:
        copy = Path(place) / "disk.qcow2"
        source = f"json:{json.dumps(block_device(path, form))}"
        words: list[str | Path] = ["qemu-img", "convert", "-O", "qcow2", "-T", "unsafe", "-t", "unsafe", source, copy]
        tools.run(words, work, what=f"reading {path.name}", timeout=COPY)
        yield copy, "qcow2"
