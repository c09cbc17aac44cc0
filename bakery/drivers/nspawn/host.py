"""What this host can do for a container: who we are, which tools are there, where control groups can be made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from bakery.drivers.nspawn import hierarchy
from bakery.model import Problem
from bakery.util import process_attributes

Mode: TypeAlias = Literal["booted", "plain"]
SYSTEMD = Path("/run/systemd/private")
"""The socket on which systemd, as process 1, takes orders from root. The folder that sd_booted(3) looks for may also be
there without it: in containers, or left by a package."""
INITS = ("usr/lib/systemd/systemd", "lib/systemd/systemd")
TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "slirp4netns": "slirp4netns"}


def rootless() -> bool:
    """Whether a user namespace has to stand in for root."""
    return os.geteuid() != 0


def mode(base: Path | None = None) -> Mode:
    """How a container can run here: `booted` with systemd inside, or `plain` without.

    Args:
        base: its file tree, where it is there already.
    """
    return "plain" if why_plain(base) else "booted"


def why_plain(base: Path | None = None) -> str:
    """Say why no container can be booted here; empty when one can."""
    if rootless():
        return "only root can start systemd-nspawn"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (apt install systemd-container)"
    if not managed() and not cgroup_parents():
        return "no control group can be made here: /sys/fs/cgroup is missing or read-only"
    if base is not None and not any((base / init).exists() for init in INITS):
        return "the base has no systemd"
    return hierarchy.why_not([base]) if base is not None else ""


def managed() -> bool:
    """Whether this host's systemd makes the control groups."""
    return SYSTEMD.is_socket() and shutil.which("systemd-run") is not None


def cgroup_parents(mounts: Path = Path("/proc/self/mountinfo"), own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Our own control groups in the hierarchies that systemd uses, where a group below can be made.

    These are the unified one (cgroup2), and systemd's own where there are several.
    """
    ours = dict(_memberships(own.read_text()))
    found = []
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        name = "" if kind == "cgroup2" else "name=systemd"
        if kind not in {"cgroup", "cgroup2"} or (name and name not in options.split(",")):
            continue
        group = Path(left.split(" ")[4]) / ours.get(name, "/").lstrip("/")
        if os.access(group, os.W_OK):
            found.append(group)
    return found


def _memberships(text: str) -> Iterator[tuple[str, str]]:
    """Lines of cgroups(7), `HIERARCHY:CONTROLLERS:PATH`, as controllers and path."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        yield controllers, path


def problems() -> Iterator[Problem]:
    """Yield what would stop a container on this host, and what would make it less than a machine."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=path) is None:
            yield Problem(what=f"{tool} is not installed", hint=f"apt install {package}")
    if not Path("/dev/net/tun").exists():
        yield Problem(
            what="/dev/net/tun is missing",
            why="slirp4netns carries the container's network through it",
            hint="modprobe tun, or start this host's own container with --device /dev/net/tun",
        )
    if "overlay" not in Path("/proc/filesystems").read_text().split() and not _module("overlay"):
        yield Problem(what="this kernel has no overlay file system", hint="modprobe overlay")
    for limit in process_attributes.kept():
        yield Problem(
            what=f"this host limits what tasks can do: {limit}",
            why="only root can raise a hard limit",
            hint="`ulimit -H -a` shows them; raise it where bake is called from",
            fatal=False,
        )
    if os.getpid() == 1:
        yield Problem(
            what="bake is process 1 here, which has to wait for every orphan that ends, and it does not",
            why="a container ends only when all that ran in it has been waited for: its power-off can hang",
            hint="start this host's own container with an init: `docker run --init`, `podman run --init`",
            fatal=False,
        )
    if rootless():
        yield from _rootless_problems()
    elif lacking := _lacking_capabilities():
        yield Problem(
            what="this process may not make the namespaces and mounts of a container",
            why=f"it runs as root without {' and '.join(lacking)}, as in a container of a CI service",
            hint="start that container with --privileged, or use Qemu",
        )
    if why := why_plain():
        yield Problem(
            what="tasks will run without systemd inside",
            why=f"{why}; so they run in a plain namespace",
            hint="services are installed and enabled, but not started; the finished image boots as usual",
            fatal=False,
        )


def _lacking_capabilities(status: Path = Path("/proc/self/status")) -> list[str]:
    """Return which capabilities(7) that a container needs are missing; the numbers are those of linux/capability.h."""
    effective = next((line.split()[1] for line in status.read_text().splitlines() if line.startswith("CapEff:")), "")
    have = int(effective, 16) if effective else -1
    return [name for name, bit in (("CAP_SYS_ADMIN", 21), ("CAP_NET_ADMIN", 12)) if not have >> bit & 1]


def _module(name: str) -> bool:
    return any(Path("/lib/modules", os.uname().release).glob(f"kernel/fs/*/{name}.ko*"))


def _rootless_problems() -> Iterator[Problem]:
    if shutil.which("newuidmap") is None:
        yield Problem(
            what="newuidmap is not installed",
            why="it maps a user namespace's owners",
            hint="apt install uidmap, or run bake as root",
        )
    for table in (Path("/etc/subuid"), Path("/etc/subgid")):
        names = {_user(), str(os.getuid())}
        lines = table.read_text().splitlines() if table.exists() else []
        if not any(line.split(":")[0] in names for line in lines):
            yield Problem(
                what=f"{table} has no range for {_user()}",
                hint=f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {_user()}",
            )
    for switch, good in (("kernel/unprivileged_userns_clone", "1"), ("user/max_user_namespaces", "")):
        file = Path("/proc/sys", switch)
        value = file.read_text().strip() if file.exists() else good
        if value == "0":
            yield Problem(
                what="this kernel lets only root make user namespaces",
                why=f"{file} is {value}",
                hint="run bake as root",
            )


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
