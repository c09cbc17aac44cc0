"""What this host has room for, so that parallel builds are bounded by it and not by luck."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bakery.model import EMPTY, Needs

RESERVE = 512 * 2**20  # for the host itself


def memory() -> int:
    """Return the bytes of memory that can be used without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def cpus() -> int:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Capacity:
    """Room for builds. One build always fits, however large, so that a small host builds too, one after the other.

    Args:
        jobs: builds at once at most; None for no limit but the host's own.
        limits: how much there is of each label; of `memory` and `cpus` what this host has, when not given.
    """

    def __init__(self, jobs: int | None = None, limits: Mapping[str, int] = EMPTY) -> None:
        self._jobs = jobs
        self._limits = dict(limits)
        self._memory = limits.get("memory", max(0, memory() - RESERVE))
        self._cpus = limits.get("cpus", max(2, cpus() * 2))  # builds wait for networks and disks half of their time
        self._taken: dict[str, Needs] = {}

    def lacks(self, needs: Needs) -> str:
        """Say what there is too little of for one more build, now; empty when it fits."""
        taken = self._taken.values()
        if not taken:
            return ""
        if self._jobs is not None and len(taken) >= self._jobs:
            return f"one of {self._jobs} jobs"
        if needs.memory and sum(n.memory for n in taken) + needs.memory > self._memory:
            return f"{needs.memory >> 20} MiB of memory"
        if needs.cpus and sum(n.cpus for n in taken) + needs.cpus > self._cpus:
            return f"{needs.cpus} processors"
        for name, count in needs.labels:
            used = sum(dict(n.labels).get(name, 0) for n in taken)
            if used + count > self._limits.get(name, used + count):
                return f"{count} of {self._limits[name]} {name}"
        return ""

    def take(self, needs: Needs, name: str) -> bool:
        """Take room for a build; False when there is none now."""
        if self.lacks(needs):
            return False
        self._taken[name] = needs
        return True

    def give_back(self, name: str) -> None:
        """Give back what a build took."""
        self._taken.pop(name, None)
