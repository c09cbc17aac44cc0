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

from bakery.base.base import BaseDisk
from bakery.claim import Workshop
from bakery.drivers.nspawn import disktree

BY_A_BOOT: Mapping[str, str] = {
    r"/var/log/.*": "what a boot logged; emptied by the seal, but which files there are depends on what ran",
    r"/var/lib/systemd/(timers|random-seed|catalog|linger|timesync|network|coredump|deb-systemd-helper-enabled)(/.*)?":
        "dates of timers and of the clock",
    r"/var/lib/private(/.*)?": "made by services with DynamicUser= at their first start",
    r"/var/cache/(ldconfig|apparmor|man|private)(/.*)?": "caches that are made at boot",
    r"/var/lib/(dbus|dhcp|ucf|logrotate|cloud)(/.*)?": "identity, leases and state of boots",
    r"/etc/(resolv\.conf|mtab|\.updated|\.pwd\.lock|adjtime)|/var/\.updated": "written at boot",
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-": "what useradd leaves as a backup",
    r"/etc/shadow": "the date of a password's last change",
    r"/(tmp|run|proc|sys|dev|boot/efi|lost\+found|root/\.ssh)(/.*)?": "not on the disk, or made by the file system",
    r"/(var/)?tmp/.*": "temporary",
}  # fmt: skip
"""Paths that two boots of one system write differently, each with its reason."""


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
        tree = disktree.tree(disk, Workshop(cache=cache)).path
        return {f"/{path.relative_to(tree)}": _file(path) for path in sorted(tree.rglob("*"))}
    finally:
        subprocess.run(["rm", "-rf", cache], check=True)


def _file(path: Path) -> File:
    info = path.lstat()
    content = [f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
               for name in sorted(os.listxattr(path, follow_symlinks=False))]  # fmt: skip
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
