"""The tiny guest: a kernel, busybox and dropbear on 90 MiB of disk, up in seconds even without KVM."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import FileLock

from bakery.util.context import WorkContext
from bakery.util.tools import run

SCRIPT = Path(__file__).with_name("tiny-guest")


def tiny_guest(folder: Path) -> Path:
    """Return the guest's disk, made once for each version of the script that makes it.

    Args:
        folder: a cache; made if it is missing.

    Raises:
        DriverError: a package is missing; which one is its last line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12]
    disk = folder / f"tiny-guest-{version}.qcow2"
    with FileLock(f"{disk}.lock"):
        if not disk.exists():
            part = disk.with_suffix(".part")
            run(("bash", SCRIPT, part), WorkContext(cache=folder), what="making the tiny guest's disk")
            part.rename(disk)
    return disk
