"""Checkpoints: copies of a running machine's disk, taken while it stands still; a restored machine boots from one.

VirtualBox's own snapshots of a running machine live in its folder, hold its memory, and go with it. What another build
is to start from is a file in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bakery.disk import foreign_formats
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.machine.base_images import StartDisk
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError
from bakery.model import Checkpoint, Handle
from bakery.state.claim import Claim
from bakery.util import tools
from bakery.util.waiting import Cancel

DISK = "disk.qcow2"


def save(box: VBoxManage, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
    """Copy the disk of a running machine, which has written all it had before; None where it has not a disk of its own.

    Args:
        box: VirtualBox.
        handle: the machine.
        key: the last step's.
        folder: the checkpoint's, in the cache.
        claim: can cancel it.

    Raises:
        DriverError: it cannot be paused, or the cache's disk is full.
    """
    disk = handle.data.get("disk")
    if not disk:  # an appliance's or a clone's hardware is known to VirtualBox alone
        return None
    source = f"json:{json.dumps(foreign_formats.block_device(Path(disk), 'vdi'))}"
    words: list[str | Path] = ["qemu-img", "convert", "-U", "-O", "qcow2", "-W", "-T", "unsafe", "-t", "unsafe"]
    with paused(box, handle.data["uuid"]):
        tools.run([*words, source, folder / DISK], claim, what="saving the machine's disk", timeout=3600)
    return Checkpoint(driver=claim.driver, key=key, folder=folder, settings={"source": dict(handle.settings)})


@contextmanager
def paused(box: VBoxManage, uuid: str) -> Generator[None]:
    """Hold a machine still: what it has written is then in its disk's file."""
    box.control(uuid, "pause")
    try:
        yield
    finally:
        box.within(Cancel()).control(uuid, "resume")  # also when the build was cancelled


def restore(checkpoint: Checkpoint) -> tuple[VirtualBox, StartDisk]:
    """Return what a machine starts from that goes on after a checkpoint.

    Raises:
        DriverError: its file is gone.
    """
    if checkpoint.folder is None:
        raise DriverError("this checkpoint has no files", why=checkpoint.key)
    settings = {**checkpoint.settings["source"], "disk": None}  # as large as it was made
    return VirtualBox.from_settings(settings), StartDisk(checkpoint.folder / DISK, "qcow2")
