"""What is in an image, read from its disk without booting it, and how two images differ."""

from __future__ import annotations

import hashlib
import re
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """A name in an image: type and permissions, owner, group, and what is in it."""

    mode: int
    owner: tuple[int, int]
    content: str


def listing(image: Path, raw: Path) -> dict[str, File]:
    """Read the root file system of an image.

    Args:
        image: qcow2 or raw.
        raw: where to unpack it; removed afterwards.
    """
    folder = raw.with_suffix(".tree")
    try:
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
        table = subprocess.run(["sfdisk", "--json", raw], check=True, capture_output=True, text=True).stdout
        starts = [(int(size), int(start)) for start, size in re.findall(r'"start": (\d+),\s*"size": (\d+)', table)]
        _, start = max(starts)  # the largest partition is the root
        folder.mkdir()
        subprocess.run(
            ["debugfs", "-R", f"rdump / {folder}", f"{raw}?offset={start * 512}"], check=True, capture_output=True
        )
        return {f"/{path.relative_to(folder)}": _file(path) for path in sorted(folder.rglob("*"))}
    finally:
        raw.unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", folder], check=True)


def _file(path: Path) -> File:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        content = ""
    return File(info.st_mode, (info.st_uid, info.st_gid), content)


def differences(one: Mapping[str, File], other: Mapping[str, File], known: Mapping[str, str] = BY_A_BOOT) -> list[str]:
    """Compare names, types, modes, owners and contents; packages and units are files, and so compared with them."""
    apart = re.compile("|".join(f"(?:{pattern})" for pattern in known))
    return [
        f"{path}: {one.get(path)} / {other.get(path)}"
        for path in sorted({*one, *other})
        if one.get(path) != other.get(path) and not apart.fullmatch(path)
    ]
