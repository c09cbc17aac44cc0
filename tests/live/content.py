"""What is in an image, read from its disk without booting it, and how two images differ."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bakery.disk.bases.base import BaseDisk
from bakery.drivers.nspawn import disk_to_tree
from bakery.util.context import WorkContext

BY_A_BOOT: Mapping[str, str] = {
    r"/tmp/\.(ICE|X11|XIM|font)-unix": "systemd-tmpfiles makes them at boot; a container's /tmp is in memory",
    r"/root/\.ssh": "systemd-tmpfiles makes it at boot; the seal removes it where a build's login key was in it",
    r"/var/lib/systemd/timers(/stamp-.*)?": "when timers ran last; in a container they are masked, or do not run",
    r"/var/lib/systemd/timesync(/clock)?": "systemd-timesyncd sets the clock, which a container's is not its own",
    r"/var/log/wtmp": "the machine's shutdown is the last entry, after the seal, with its time",
}
"""Paths that two builds of the same steps write differently, each with its reason; all were seen to differ."""


@dataclass(frozen=True)
class File:
    """A name in an image: type and permissions, owner, group, how many names it has, and what is in it."""

    mode: int
    owner: tuple[int, int]
    names: int
    content: str


def listing(image: Path, cache: Path) -> dict[str, File]:
    """Read the root file system of an image.

    Args:
        image: qcow2 or raw.
        cache: where to unpack it; removed afterwards.
    """
    disk = BaseDisk(path=image, format="raw" if image.suffix == ".raw" else "qcow2", key=str(image), login="nocloud")
    try:
        tree = disk_to_tree.tree(disk, WorkContext(cache=cache)).path
        return {f"/{path.relative_to(tree)}": _file(path) for path in sorted(tree.rglob("*"))}
    finally:
        subprocess.run(["rm", "-rf", cache], check=True)


def _file(path: Path) -> File:
    info = path.lstat()
    content = [
        f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
        for name in sorted(os.listxattr(path, follow_symlinks=False))
    ]
    if stat.S_ISLNK(info.st_mode):
        content.append(str(path.readlink()))
    elif stat.S_ISREG(info.st_mode):
        content.append(hashlib.sha256(path.read_bytes()).hexdigest())
    elif not stat.S_ISDIR(info.st_mode):
        content.append(f"device {info.st_rdev}")
    names = 1 if stat.S_ISDIR(info.st_mode) else info.st_nlink
    return File(info.st_mode, (info.st_uid, info.st_gid), names, " ".join(content))


def differences(one: Mapping[str, File], other: Mapping[str, File], known: Mapping[str, str] = BY_A_BOOT) -> list[str]:
    """Compare names, types, modes, owners and contents; packages and units are files, and so compared with them."""
    apart = re.compile("|".join(f"(?:{pattern})" for pattern in known))
    return [
        f"{path}: {one.get(path)} / {other.get(path)}"
        for path in sorted({*one, *other})
        if one.get(path) != other.get(path) and not apart.fullmatch(path)
    ]
