"""What a process inherits from the one that started it, and what every process in a container begins with instead.

A virtual machine's processes have the umask, limits and signals that its own system gives them. A container's are
children of ours, and would have those of the shell that `bake` was called from: under `umask 077` folders in the image
could be entered by root alone, under `nohup` no daemon could be told to reload.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UMASK: Final = 0o022
NO_LIMIT: Final = resource.RLIM_INFINITY
LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "as": (NO_LIMIT, NO_LIMIT),
    "core": (0, NO_LIMIT),
    "cpu": (NO_LIMIT, NO_LIMIT),
    "data": (NO_LIMIT, NO_LIMIT),
    "fsize": (NO_LIMIT, NO_LIMIT),
    "memlock": (64 << 20, 64 << 20),
    "msgqueue": (819_200, 819_200),
    "nice": (0, 0),
    "nofile": (1024, 1 << 20),
    "rss": (NO_LIMIT, NO_LIMIT),
    "rtprio": (0, 0),
    "stack": (8 << 20, NO_LIMIT),
}
"""Soft and hard, by prlimit(1)'s name: what root has in an SSH session of Debian 12."""
BY_MEMORY: Final = ("nproc", "sigpending")
"""What the kernel bases on the size of the memory, through its limit of threads (kernel/fork.c, `fork_init`)."""
RESET_BY_POPEN: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Python ignores these for itself; `subprocess` sets them back in each child (`restore_signals`)."""
CAP_SETGID, CAP_SYS_NICE, CAP_SYS_RESOURCE = 6, 23, 24
"""Numbers of linux/capability.h."""
STARTERS: Final = frozenset({"env", "prlimit", "chrt", "nice", "choom", "setpriv", "setarch"})
"""The programs of `words`: each becomes the next one."""


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """What the children of a process inherit, beyond its environment, and what it may change of that.

    Args:
        ignored: signals that are ignored.
        limits: soft and hard, by prlimit(1)'s name.
        threads: how many the kernel allows in all.
        niceness: -20 to 19.
        oom_score: -1000 to 1000; how willingly the kernel kills it when memory is short. 0 where it cannot be changed.
        normal: True where it is scheduled as usual, and neither idle nor in real time.
        groups: supplementary groups.
        personality: the kernel's flags, such as linux32(8) sets them, under which `uname -m` differs; 0 as a rule.
        capabilities: those in effect in the first user namespace, by number; none in another one.
    """

    ignored: frozenset[int] = frozenset()
    limits: Mapping[str, tuple[int, int]]
    threads: int = 0
    niceness: int = 0
    oom_score: int = 0
    normal: bool = True
    groups: frozenset[int] = frozenset()
    personality: int = 0
    capabilities: frozenset[int] = frozenset()

    @classmethod
    def ours(cls) -> Inherited:
        """Return those of this process."""
        status = dict(_fields(Path("/proc/thread-self/status").read_text()))
        first = Path("/proc/self/uid_map").read_text().split() == ["0", "0", str((1 << 32) - 1)]
        return cls(
            ignored=frozenset(_bits(status["SigIgn"], first=1)) - RESET_BY_POPEN,
            limits={name: resource.getrlimit(_number(name)) for name in (*LIMITS, *BY_MEMORY)},
            threads=int(Path("/proc/sys/kernel/threads-max").read_text()),
            niceness=os.getpriority(os.PRIO_PROCESS, 0),
            oom_score=_oom_score(),
            normal=os.sched_getscheduler(0) == os.SCHED_OTHER,
            groups=frozenset(os.getgroups()) - {os.getegid()},
            personality=_personality(),
            capabilities=frozenset(_bits(status["CapEff"])) if first else frozenset(),
        )


def begin() -> None:
    """Undo, in the main thread, what this process inherited and would break it: blocked signals, an ignored SIGCHLD.

    Where that one is ignored, the kernel forgets the exit codes of children, and Python takes each of them for 0.
    """
    if threading.current_thread() is threading.main_thread():
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def words(inherited: Inherited | None = None) -> list[str]:
    """Return the words in front of a command that give it the attributes above, as far as the kernel lets us.

    Args:
        inherited: what is to be changed; this process's attributes when None.
    """
    now = inherited or Inherited.ours()
    prefix: list[str] = []
    if now.groups and CAP_SETGID in now.capabilities:
        prefix += ["setpriv", "--clear-groups", "--"]
    if now.personality:
        prefix += ["setarch", "linux64" if sys.maxsize > 1 << 32 else "linux32", "--"]
    if now.oom_score:
        prefix += ["choom", "-n", "0", "--"]
    if not now.normal and CAP_SYS_NICE in now.capabilities:
        prefix += ["chrt", "--other", "0"]
    if now.niceness and (now.niceness < 0 or CAP_SYS_NICE in now.capabilities):
        prefix += ["nice", f"--adjustment={-now.niceness}"]
    if changes := [f"--{name}={_text(soft)}:{_text(hard)}" for name, (soft, hard) in _changes(now)]:
        prefix += ["prlimit", *changes]
    return [*prefix, "env", "--default-signal"] if now.ignored else prefix


def kept(inherited: Inherited | None = None) -> list[str]:
    """Say which attributes that can change what a task makes cannot be given: hard limits of this host.

    Args:
        inherited: as for `words`.
    """
    now = inherited or Inherited.ours()
    if CAP_SYS_RESOURCE in now.capabilities:
        return []
    names = ("as", "cpu", "data", "fsize")
    return [f"{name} is {now.limits[name][1]}" for name in names if now.limits[name][1] != NO_LIMIT]


def _personality(file: Path = Path("/proc/thread-self/personality")) -> int:
    """Return this process's flags; 0 where the kernel does not show them, as gVisor's."""
    try:
        return int(file.read_text(), 16)
    except OSError:
        return 0


def _oom_score(file: Path = Path("/proc/self/oom_score_adj")) -> int:
    """Return this process's score, or 0 where the kernel does not let it go back to 0, which only a try tells."""
    text = file.read_text()
    if int(text) > 0:
        try:
            file.write_text("0")
        except OSError:
            return 0
        file.write_text(text)
    return int(text)


def _changes(now: Inherited) -> Iterable[tuple[str, tuple[int, int]]]:
    by_memory = (now.threads // 2, now.threads // 2)
    for name, limits in {**LIMITS, **dict.fromkeys(BY_MEMORY, by_memory)}.items():
        soft, hard = limits
        if CAP_SYS_RESOURCE not in now.capabilities:
            hard = _least(hard, now.limits[name][1])
        soft = _least(soft, hard)
        if (soft, hard) != now.limits[name]:
            yield name, (soft, hard)


def _least(one: int, other: int) -> int:
    if NO_LIMIT in (one, other):
        return other if one == NO_LIMIT else one
    return min(one, other)


def _text(limit: int) -> str:
    return "unlimited" if limit == NO_LIMIT else str(limit)


def _number(name: str) -> int:
    number: int = getattr(resource, f"RLIMIT_{name.upper()}")
    return number


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()


def _bits(mask: str, first: int = 0) -> Iterable[int]:
    """Return the numbers of the bits that are set in a hexadecimal mask, whose lowest bit has the number `first`."""
    value = int(mask, 16)
    return (at + first for at in range(value.bit_length()) if value >> at & 1)
