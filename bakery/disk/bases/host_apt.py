"""The apt sources of this host, for bases that are made here and for machines that tasks run on.

A host in a closed network reaches its packages by a mirror or a proxy of its own, and so must the machines on it. What
is written into a machine for that is taken back before it becomes an image.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from bakery.disk.bases.debian_recipe import ARCHIVE, SECURITY, SUITES

OFFICIAL = ("deb.debian.org", "security.debian.org", "ftp.debian.org", "cdn-fastly.deb.debian.org")
NAMES = (*SUITES, "oldoldstable", "oldstable", "stable", "testing", "unstable")
"""What a host's sources call a suite of Debian's: by its name, or by its state."""
KEPT = re.compile(
    r"(?im)^\s*(Acquire::(?:https?::(?:[^\s:]+::)?Proxy|Check-Valid-Until|Check-Date|https::CaInfo))\s+\"?([^\";\s]+)\"?;"
)
"""The settings that decide whether a mirror can be used, in the one-line form of apt.conf."""
CONF = "/etc/apt/apt.conf.d/99bakery-build"
CA = "/etc/apt/bakery-build-ca.pem"
FAST = 'Acquire::Languages "none";\nAcquire::PDiffs "false";\n'
"""Nobody reads translated descriptions while building, and patching lists is slower than fetching them."""
DPKG = "/etc/dpkg/dpkg.cfg.d/99bakery-build"
HASTY = "force-unsafe-io\n"
"""A machine that crashes while it is built is thrown away: dpkg need not wait for the disk after each file."""
START = "set -eu\n[ -d /etc/apt/apt.conf.d ] || exit 0  # no Debian, nor any of its children"
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")


class CommandRunner(Protocol):
    """The part of `Machine` that is used here."""

    def run(self, command: str, *, input: str | None = None) -> Any:  # noqa: A002  Fabric's word
        """Run a command as root; raise when it fails."""


@dataclass(frozen=True, kw_only=True)
class HostApt:
    """Where this host gets one suite from.

    Args:
        archive: address of the archive.
        security: address of the archive with security updates.
        options: what its sources have in brackets, without `signed-by`: `trusted=yes`.
        conf: lines of apt.conf: proxies, and whether dates are checked.
        ca: certificates that an https mirror or proxy needs, PEM; empty where apt.conf names none.
    """

    archive: str = ARCHIVE
    security: str = SECURITY
    options: str = ""
    conf: str = ""
    ca: str = ""


@dataclass(frozen=True, kw_only=True)
class AptSetup:
    """What a machine is given, as long as it is built, to reach packages from this host.

    Args:
        swaps: address of the default to address of the host's mirror.
        files: absolute path to text, placed while building and removed afterwards.
    """

    swaps: Mapping[str, str]
    files: Mapping[str, str]

    def place(self) -> str:
        """Return a shell script, for standard input so that no log shows it: to be run once more without harm."""
        parts = [f"printf %s {shlex.quote(text)} >{shlex.quote(path)}" for path, text in self.files.items()]
        return "\n".join((START, *parts, *_swap(self.swaps), ""))

    def take_back(self) -> str:
        """Return a shell script that leaves nothing of `place`."""
        gone = [f"rm -f {shlex.quote(path)}" for path in self.files]
        lists = ["rm -rf /var/lib/apt/lists/*", "rm -f /var/cache/apt/*.bin"] if self.swaps else []
        return "\n".join((START, *gone, *_swap({new: old for old, new in self.swaps.items()}), *lists, ""))


def _swap(swaps: Mapping[str, str]) -> Iterator[str]:
    """Change addresses wherever apt reads them, so that components or sources that a task adds stay as they are."""
    for old, new in swaps.items():
        pattern, value = re.sub(r"([][.*^$\\])", r"\\\1", old), re.sub(r"([&\\])", r"\\\1", new)
        cut = "\x01"  # a delimiter that no address has
        expression = shlex.quote(rf"s{cut}{pattern}/*\([[:space:]]\|$\){cut}{value}\1{cut}")
        files = "/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources"
        yield f"for f in {files}; do [ ! -f $f ] || sed -i {expression} $f; done"


def host_apt(suite: str, *, root: Path = Path("/"), env: Mapping[str, str] = os.environ) -> HostApt | None:
    """Read this host's apt settings and say where it would get `suite` from.

    Args:
        suite: a Debian suite; another one than the host's comes from the same mirror.
        root: the host's root folder.
        env: variables; `http_proxy` and `https_proxy` count when apt.conf names no proxy.

    Returns:
        None where nothing differs from the distribution's default, or the host is no Debian.
    """
    del suite  # a Debian mirror has them all under one address
    conf = "\n".join(_texts(root, "etc/apt/apt.conf", "etc/apt/apt.conf.d/*"))
    kept = dict(KEPT.findall(conf))
    for scheme in ("http", "https"):
        proxy = env.get(f"{scheme}_proxy") or env.get(f"{scheme.upper()}_PROXY")
        if proxy and not any(name.lower() == f"acquire::{scheme}::proxy" for name in kept):
            kept[f"Acquire::{scheme}::Proxy"] = proxy
    bundle = Path(next((value for name, value in kept.items() if name.lower().endswith("cainfo")), ""))
    entries = [entry for entry in _entries(root) if entry[1].removesuffix("-security").split("-")[0] in NAMES]
    archives = [entry for entry in entries if "-" not in entry[1] and "/debian-security" not in entry[0]]
    security = [entry for entry in entries if entry[1].endswith("-security")]
    setup = HostApt(
        archive=_own(archives, ARCHIVE),
        security=_own(security, SECURITY),
        options=next((entry[2] for entry in archives if entry[2]), ""),
        conf="".join(f'{name} "{value}";\n' for name, value in sorted(kept.items())),
        ca=bundle.read_text() if bundle.is_file() else "",
    )
    return None if setup == HostApt() else setup


def _own(entries: list[tuple[str, str, str]], default: str) -> str:
    """Return the first address that is not one of the distribution's own."""
    own = (url for url, _, _ in entries if urlsplit(url).hostname not in OFFICIAL)
    return next(own, default).rstrip("/")


def apt_setup(host: HostApt | None, *, loopback: str | None = None) -> AptSetup:
    """Return what a machine on this host needs to reach packages, fast.

    Args:
        host: what `host_apt` found.
        loopback: how the machine reaches this host's loopback (10.0.2.2 in QEMU's user network); a mirror or a proxy
            on 127.0.0.1 becomes that.
    """
    host = host or HostApt()
    pairs = ((ARCHIVE, host.archive), (SECURITY, host.security))
    swaps = {old: _reach(new, loopback) for old, new in pairs if new != old and new.startswith("http")}
    # A mirror that is a folder of this host is no use to a machine: it keeps the default.
    conf = re.sub(r"(?m)^(Acquire::https::CaInfo) .*$", rf'\1 "{CA}";', host.conf, flags=re.IGNORECASE)
    conf = re.sub(r'"([^"]*)"', lambda match: f'"{_reach(match[1], loopback)}"', conf)
    files = {CONF: FAST + conf, DPKG: HASTY, **({CA: host.ca} if host.ca else {})}
    return AptSetup(swaps=swaps, files=files)


def _reach(url: str, loopback: str | None) -> str:
    return re.sub(r"://(127\.[0-9.]+|localhost|\[::1\])(?=[:/]|$)", f"://{loopback}", url) if loopback else url


def apply(machine: CommandRunner, setup: AptSetup) -> None:
    """Give a machine what it needs to reach packages, and stop its daily apt jobs until the next boot.

    Those would take dpkg's lock in the middle of a task; nothing about them is changed on the disk.
    """
    machine.run(f"systemctl stop {' '.join(TIMERS)} 2>/dev/null || true")
    machine.run("sh -s", input=setup.place())


def undo(machine: CommandRunner, setup: AptSetup) -> None:
    """Take back what `apply` wrote; part of sealing."""
    machine.run("sh -s", input=setup.take_back())


def _texts(root: Path, *patterns: str) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if path.is_file():
                yield path.read_text(errors="replace")


def _entries(root: Path) -> Iterator[tuple[str, str, str]]:
    """Every source of packages as address, suite, options."""
    for text in _texts(root, "etc/apt/sources.list", "etc/apt/sources.list.d/*.list"):
        for options, url, suite in re.findall(r"(?m)^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)", text):
            kept = " ".join(option for option in options.split() if option.startswith("trusted="))
            yield url, suite, kept
    for text in _texts(root, "etc/apt/sources.list.d/*.sources"):
        for block in re.split(r"\n\s*\n", text):
            fields = {name.lower(): value for name, value in re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*)$", block)}
            if fields.get("enabled", "yes").lower() == "no" or "deb" not in fields.get("types", "").split():
                continue
            kept = f"trusted={fields['trusted']}" if "trusted" in fields else ""
            for url in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield url, suite, kept
