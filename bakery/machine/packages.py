"""Which packages a machine has, by the list of whichever package manager is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SCRIPT: Final = r"""
if command -v dpkg-query >/dev/null 2>&1; then
  dpkg-query --show --showformat='${db:Status-Abbrev}|${binary:Package}|${Version}\n' | sed -n 's/^.i *|//p'
elif command -v rpm >/dev/null 2>&1; then
  rpm --query --all --queryformat '%{NAME}.%{ARCH}|%{EVR}\n'
elif command -v apk >/dev/null 2>&1; then
  apk info --verbose 2>/dev/null | sed 's/-\([^-]*-r[0-9]*\)$/|\1/'
elif command -v pacman >/dev/null 2>&1; then
  pacman --query | tr ' ' '|'
fi
true
"""
"""A script for any POSIX shell, whose output `parse` reads."""


@dataclass(frozen=True)
class Changes:
    """What became of an image's packages.

    Args:
        added: `nginx 1.22.1-9`.
        removed: the same.
        changed: `openssl 3.0.11 -> 3.0.13`.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def parse(text: str) -> dict[str, str]:
    """Return versions by package name; several versions of one name (kernels, with rpm) are one text."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        name, bar, version = line.strip().partition("|")
        if bar and name and version:
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in sorted(found.items())}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Compare two lists."""
    both = before.keys() & now.keys()
    return Changes(
        added=_listed(now, now.keys() - both),
        removed=_listed(before, before.keys() - both),
        changed=tuple(f"{name} {before[name]} -> {now[name]}" for name in sorted(both) if before[name] != now[name]),
    )


def _listed(packages: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name} {packages[name]}" for name in sorted(names))
