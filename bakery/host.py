"""What this host has room for, so that parallel builds are bounded by it and not by luck."""

from __future__ import annotations

import os
from pathlib import Path

from bakery.model import Needs

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
        total: what there is; this host when not given.
    """

    def __init__(self, jobs: int | None = None, total: Needs | None = None) -> None:
        self._jobs = jobs
        self._total = total or Needs(memory=max(0, memory() - RESERVE), cpus=cpus())
        self._taken: dict[str, Needs] = {}

    def take(self, needs: Needs, name: str) -> bool:
        """Take room for a build; False when there is none now."""
        if self._taken:
            if self._jobs is not None and len(self._taken) >= self._jobs:
                return False
            if sum(n.memory for n in self._taken.values()) + needs.memory > self._total.memory and needs.memory:
                return False
            if needs.cpus and sum(n.cpus for n in self._taken.values()) + needs.cpus > max(2, self._total.cpus * 2):
                return False  # twice over: builds wait for networks and disks half of their time
        self._taken[name] = needs
        return True

    def give_back(self, name: str) -> None:
        """A build is done."""
        self._taken.pop(name, None)
