"""What a machine is, read once in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

SCRIPT: Final = """
id= version= codename=
if [ -r /etc/os-release ]; then
  . /etc/os-release
  id=${ID:-} version=${VERSION_ID:-} codename=${VERSION_CODENAME:-}
fi
manager=
for m in apt-get dnf yum zypper apk pacman opkg; do
  if command -v "$m" >/dev/null 2>&1; then manager=$m; break; fi
done
init=$(cat /proc/1/comm 2>/dev/null)
[ ! -d /run/systemd/system ] || init=systemd
cpus=$(nproc 2>/dev/null || grep -c '^processor' /proc/cpuinfo)
memory=0
while read -r name value unit; do
  [ "$name" != MemTotal: ] || memory=$((value * 1024))
done </proc/meminfo
echo "os_id=$id"
echo "version=$version"
echo "codename=$codename"
echo "arch=$(uname -m)"
echo "kernel=$(uname -r)"
echo "hostname=$(hostname 2>/dev/null || uname -n)"
echo "cpus=$cpus"
echo "memory=$memory"
echo "init=$init"
echo "package_manager=$manager"
"""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a machine is.

    Args:
        os_id: `debian`, `fedora`, `alpine`; `ID` of os-release(5), empty where there is none.
        version: `12`; `VERSION_ID`.
        codename: `bookworm`; `VERSION_CODENAME`.
        arch: `x86_64`, `aarch64`; what `uname -m` says.
        kernel: its release; what `uname -r` says.
        hostname: its name.
        cpus: how many processors a program may use.
        memory: bytes.
        init: name of process 1: `systemd`, `init`.
        package_manager: `apt-get`, `dnf`, `yum`, `zypper`, `apk`, `pacman` or `opkg`; empty where there is none.
    """

    os_id: str = ""
    version: str = ""
    codename: str = ""
    arch: str = ""
    kernel: str = ""
    hostname: str = ""
    cpus: int = 1
    memory: int = 0
    init: str = ""
    package_manager: str = ""

    @property
    def has_systemd(self) -> bool:
        """True when systemd runs the machine."""
        return self.init == "systemd"

    @classmethod
    def parse(cls, text: str) -> Facts:
        """Read what `SCRIPT` wrote."""
        texts = {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}
        return cls.of(texts)

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Facts:
        """Make them from texts; unknown names are left out."""
        numbers = {name: int(facts[name]) for name in ("cpus", "memory") if facts.get(name, "").isdigit()}
        texts = {f.name: facts[f.name] for f in fields(cls) if f.name in facts and f.name not in ("cpus", "memory")}
        return cls(**texts, **numbers)  # type: ignore[arg-type]  # the names decide the types, see the two lines above
