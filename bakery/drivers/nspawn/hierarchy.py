"""Which control groups the systemd of a tree can live with, and what systemd-nspawn must be told of it.

A host may show the old control groups (cgroup v1), the unified ones (cgroup2), or both, which is called hybrid. Asked
nothing, systemd-nspawn shows a container what the host has, and systemd 256 and newer end at once on the old ones.
systemd-nspawn 262 itself refuses a host whose /sys/fs/cgroup has them, whatever SYSTEMD_NSPAWN_UNIFIED_HIERARCHY asks
for. So boot.sh mounts the unified ones there, in the container's own mount namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

UNIFIED_ONLY = 256
"""The first systemd that refuses the old control groups; since 258 no option makes it take them (both in its NEWS)."""
UNIFIED_USUALLY = 247
"""From Debian 11's on, images boot with the unified ones alone wherever they are booted: so does a container."""
LIBRARIES = (
    "usr/lib/*/systemd/libsystemd-shared-*.so",
    "lib/systemd/libsystemd-shared-*.so",
    "usr/lib/systemd/libsystemd-shared-*.so",
    "usr/lib64/systemd/libsystemd-shared-*.so",
)
"""Where distributions keep the library that carries systemd's version in its name; systemd-nspawn looks there too."""
VERSION = re.compile(r"libsystemd-shared-(\d+)")
UNIFIED = {"BAKERY_CGROUP2": "1"}
"""What boot.sh reads."""


def systemd_version(layers: Iterable[Path]) -> int | None:
    """Return the version of a tree's systemd, the newest where its layers have several; None where none says it."""
    libraries = (path.name for layer in layers for pattern in LIBRARIES for path in layer.glob(pattern))
    return max((int(found[1]) for found in map(VERSION.match, libraries) if found), default=None)


def host_has(kind: str, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a file system of that kind, `cgroup` or `cgroup2`, is mounted here."""
    return any(line.partition(" - ")[2].split(" ", 1)[0] == kind for line in mounts.read_text().splitlines())


def why_not(layers: Iterable[Path]) -> str:
    """Say why the tree's systemd cannot live with this host's control groups; empty when it can."""
    version = systemd_version(layers) or 0
    if version < UNIFIED_ONLY or host_has("cgroup2"):
        return ""
    return f"the base's systemd {version} wants the unified control groups (cgroup2), and this host mounts none"


def environment(layers: Iterable[Path]) -> Mapping[str, str]:
    """Return the variables with which boot.sh shows the tree those control groups that it will be booted with."""
    newer = (systemd_version(layers) or 0) >= UNIFIED_USUALLY
    return UNIFIED if newer and host_has("cgroup") and host_has("cgroup2") else {}
