"""The tiny guest: a kernel, busybox and dropbear on 90 MiB of disk, up in seconds even without KVM."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from filelock import FileLock

SCRIPT = Path(__file__).with_name("tiny-guest")


def tiny_guest(folder: Path) -> Path:
    """Return the guest's disk, made once for each version of the script that makes it.

    Args:
        folder: a cache; made if it is missing.

    Raises:
        subprocess.CalledProcessError: a package is missing; its standard error says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:12]
    disk = folder / f"tiny-guest-{version}.qcow2"
    with FileLock(f"{disk}.lock"):
        if not disk.exists():
            part = disk.with_suffix(".part")
            subprocess.run(["bash", str(SCRIPT), str(part)], check=True)
            part.rename(disk)
    return disk
