"""The first disk of a new machine: a copy in VirtualBox's own format, as large as was asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bakery.disk import foreign_formats, qemuimg
from bakery.drivers.virtualbox.machine.base_images import StartDisk
from bakery.errors import DriverError
from bakery.util import tools
from bakery.util.context import WorkContext

COPY = 3 * 3600.0
"""Seconds for a copy of a whole disk."""


def write_vdi(start: StartDisk, to: Path, *, size: int, work: WorkContext) -> None:
    """Write a disk as a VDI file with a UUID of its own; what it holds nothing in takes no room.

    Args:
        start: what to copy.
        to: the file to make.
        size: bytes that the guest sees; 0 for as many as the base has.
        work: can cancel it.

    Raises:
        DriverError: the base is not there, or is larger than `size`.
    """
    if not start.path.is_file():
        raise DriverError("the disk to start from is gone", why=str(start.path), hint="bake it again")
    source = block_device(start)
    if size:
        source = _enlarged(start, to.with_suffix(".size.qcow2"), size, work)
    words: list[str | Path] = ["qemu-img", "convert", "-O", "vdi", "-W", "-m", str(min(16, 2 * (os.cpu_count() or 1)))]
    words += ["-T", "unsafe", "-t", "unsafe", f"json:{json.dumps(source)}", to]
    tools.run(words, work, what=f"writing {to.name}", timeout=COPY)
    to.with_suffix(".size.qcow2").unlink(missing_ok=True)
    to.chmod(0o600)


def block_device(start: StartDisk) -> dict[str, Any]:
    """Describe a disk for QEMU's block layer."""
    if start.format in foreign_formats.QEMU_NAMES:
        return foreign_formats.block_device(start.path, start.format)
    return qemuimg.described(start.path, start.format)


def _enlarged(start: StartDisk, overlay: Path, size: int, work: WorkContext) -> dict[str, Any]:
    """Put an empty layer of that size on the disk, for the copy only."""
    if start.format not in ("qcow2", "raw"):
        raise DriverError(f"disk= cannot enlarge an image of the format {start.format}", hint="leave out disk=")
    form: qemuimg.Format = "qcow2" if start.format == "qcow2" else "raw"
    least = qemuimg.info(start.path, form, work).virtual
    if size < least:
        raise DriverError(
            f"disk= is {size >> 20} MiB, its base {least >> 20} MiB: a disk cannot shrink", hint="leave out disk="
        )
    qemuimg.overlay(overlay, base=start.path, format=form, size=size, work=work)
    return qemuimg.described(overlay, "qcow2")
