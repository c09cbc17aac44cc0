"""Find and end the processes of a container, by reading /proc: works without any service of the host."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bakery.errors import DriverError, NotYet
from bakery.util import process_attributes
from bakery.util.waiting import Cancel, until

PROC = Path("/proc")
MARK = "boot.sh"
"""File name of the script in a launcher's command line; the machine's name follows it."""
INNER_MARK = "chroot.sh"
"""The same for the script that a plain namespace is set up by; the machine's name is its second argument."""
STARTERS = process_attributes.STARTERS | {"unshare", "systemd-run"}
"""What a launcher runs: each of the others becomes `unshare` at last."""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """The process that holds a container's outer namespaces: when it ends, all of the container does.

    Args:
        pid: its number on this host.
        started: when, in clock ticks since the host's boot; with the pid it is unique.
        args: the words after the script: NAME, RUN, MODE, LOWER, UPPER, ... as boot.sh describes.
    """

    pid: int
    started: str
    args: tuple[str, ...]

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.args[0]

    @property
    def run(self) -> str:
        """The id of the run that started it."""
        return self.args[1]

    @property
    def folder(self) -> Path:
        """The container's folder: the network file is in it."""
        return Path(self.args[7]).parent

    @property
    def cgroups(self) -> tuple[str, ...]:
        """The control groups that were made for it."""
        return tuple(self.args[8].split())


def stat(pid: int) -> tuple[str, ...]:
    """Return the fields of /proc/PID/stat from the third (the state) on; empty when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ()
    return tuple(text.rpartition(")")[2].split())


def started(pid: int) -> str:
    """When a process began, in clock ticks since boot (field 22 of proc_pid_stat(5)); empty when it is gone."""
    fields = stat(pid)
    return fields[19] if fields and fields[0] not in "ZX" else ""


def alive(pid: int, since: str) -> bool:
    """Whether that very process runs, not another one with its number. Zombies are dead."""
    return bool(since) and started(pid) == since


def launchers() -> Iterator[Launcher]:
    """Every container's launcher on this host, whoever started it."""
    for pid in _pids():
        words = words_of(pid)
        script = next((at for at, word in enumerate(words) if word.endswith(f"nspawn/{MARK}")), None)
        if script is None or len(words) < script + 10 or Path(words[0]).name not in STARTERS:
            continue
        if since := started(pid):
            yield Launcher(pid=pid, started=since, args=tuple(words[script + 1 :]))


def leader(launcher: int) -> int | None:
    """Return the container's process 1, as numbered on this host; None while there is none.

    It is the one below the launcher that is process 1 of a PID namespace two levels down: the first level is the
    launcher's, the second the container's.
    """
    parents = _parents()
    depth = len(_levels(launcher))
    for pid in parents:
        if _stands_below(pid, launcher, parents):
            levels = _levels(pid)
            if len(levels) == depth + 2 and levels[-1] == "1":
                return pid
    return None


def end(name: str, *, timeout: float = 20.0) -> None:
    """Kill a container; return when nothing of it runs any more. One that does not run is ended.

    The kernel kills what is in a PID namespace together with its process 1, and that one with the launcher. Only in its
    first moments may a launcher die alone. So it is stopped first: then its children are all that there are, and are
    killed too. Nothing needs to be saved: a container whose files are wanted is powered off first.

    Raises:
        DriverError: it is still there after `timeout` seconds.
    """
    members: set[tuple[int, str]] = set()

    def probe() -> None:
        heads = [pid for pid in _pids() if _bears(pid, name)]
        first = [pid for pid in heads if Path(words_of(pid)[0]).name in STARTERS]
        _signal(first, signal.SIGSTOP)
        if any(stat(pid)[:1] not in {(), ("T",), ("Z",), ("X",)} for pid in first):
            raise NotYet("its launcher is being stopped")
        parents = _parents()
        below = [pid for pid in parents if any(_stands_below(pid, head, parents) for head in heads)]
        members.update((pid, started(pid)) for pid in below)
        _signal([*below, *heads], signal.SIGKILL)
        if heads or any(alive(*member) for member in members):
            raise NotYet("the kernel is ending its processes")

    until(
        probe,
        what=f"the end of container {name}",
        timeout=timeout,
        cancel=Cancel(),
        every=(0.005, 0.2),
        error=DriverError,
        hint="see `ps` for processes in state D: a disk may be stuck",
    )


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _bears(pid: int, name: str) -> bool:
    """Whether a process belongs to a container's start: one of our scripts and the name are among its words."""
    words = words_of(pid)
    scripts = (f"nspawn/{MARK}", f"nspawn/{INNER_MARK}")
    return name in words and any(word.endswith(scripts) for word in words) and stat(pid)[:1] != ("Z",)


def words_of(pid: int) -> list[str]:
    """Return a process's command line; one empty word when it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return [""]


def _parents() -> dict[int, int]:
    """Every process's parent."""
    return {pid: int(fields[1]) for pid in _pids() if (fields := stat(pid))}


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _levels(pid: int) -> list[str]:
    """Return the process's numbers in all PID namespaces that it is in, from this one inwards."""
    try:
        text = (PROC / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return []
    line = next((line for line in text.splitlines() if line.startswith("NSpid:")), "")
    return line.split()[1:]


def _stands_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    seen = parents.get(pid)
    while seen is not None and seen > 1:
        if seen == ancestor:
            return True
        seen = parents.get(seen)
    return False
