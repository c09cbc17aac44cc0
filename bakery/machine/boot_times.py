"""How a machine booted, in seconds: what systemd noted of firmware, kernel, initrd and each unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

STAGES: Final = ("firmware", "loader", "kernel", "initrd", "userspace")
SCRIPT: Final = r"""
command -v systemctl >/dev/null 2>&1 || exit 0
systemctl show --property=FirmwareTimestampMonotonic,LoaderTimestampMonotonic,InitRDTimestampMonotonic \
  --property=UserspaceTimestampMonotonic,FinishTimestampMonotonic
echo
systemctl show '*.service' '*.device' '*.mount' '*.swap' \
  --property=Id,ActiveState,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic
true
"""
"""A script for any POSIX shell, whose output `parse` reads. The same figures are behind `systemd-analyze`. Units of
other kinds take no time of their own, and each that is asked for takes some on an emulated machine."""
SHORTEST: Final = 0.05
"""Seconds that a unit must take to be shown."""
MOST: Final = 40
"""Units that are shown, the slowest."""


@dataclass(frozen=True)
class BootTimes:
    """A boot.

    Args:
        stages: name and seconds, in order; without those that this machine does not tell.
        units: name, seconds from the kernel's start until it began, seconds that it took; in order of beginning.
    """

    stages: tuple[tuple[str, float], ...] = ()
    units: tuple[tuple[str, float, float], ...] = ()


def parse(text: str) -> BootTimes:
    """Read what `SCRIPT` printed; empty where the boot had not ended, or there is no systemd."""
    head, *blocks = [dict(_pairs(block)) for block in text.strip().split("\n\n")]
    finish = _seconds(head, "FinishTimestampMonotonic")
    if not finish:
        return BootTimes()
    units = [unit for block in blocks if (unit := _unit(block, finish)) is not None]
    slowest = sorted(units, key=lambda unit: -unit[2])[:MOST]
    return BootTimes(stages=tuple(_stages(head, finish)), units=tuple(sorted(slowest, key=lambda unit: unit[1])))


def _stages(head: dict[str, str], finish: float) -> Iterator[tuple[str, float]]:
    """Yield how long each stage took; firmware and loader count backwards from the kernel's start."""
    firmware, loader = _seconds(head, "FirmwareTimestampMonotonic"), _seconds(head, "LoaderTimestampMonotonic")
    initrd, userspace = _seconds(head, "InitRDTimestampMonotonic"), _seconds(head, "UserspaceTimestampMonotonic")
    took = {
        "firmware": firmware - loader,
        "loader": loader,
        "kernel": initrd or userspace,
        "initrd": userspace - initrd if initrd else 0.0,
        "userspace": finish - userspace,
    }
    yield from ((name, round(took[name], 3)) for name in STAGES if took[name] > 0)


def _unit(block: dict[str, str], finish: float) -> tuple[str, float, float] | None:
    began, ended = _seconds(block, "InactiveExitTimestampMonotonic"), _seconds(block, "ActiveEnterTimestampMonotonic")
    name = block.get("Id", "")
    if not name or not began or ended - began < SHORTEST or began > finish:
        return None
    return name, round(began, 3), round(ended - began, 3)


def _pairs(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def _seconds(values: dict[str, str], name: str) -> float:
    """Return a time in seconds; 0 where systemd does not know it."""
    text = values.get(name, "0")
    return int(text) / 1e6 if text.isdecimal() else 0.0
