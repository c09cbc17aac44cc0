"""Kill any process of a program that captures, at any moment, and look at what is left of it on this host."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

SYNC = 5.0
"""Seconds in which `sync` answers; a disk that others keep busy may take longer, but not for ever."""
BUSY = 120.0
END = 60.0
"""Seconds in which a program of which a process was killed has ended, and all that it had mounted is gone."""


@dataclass
class Figures:
    """What a series of kills has shown.

    Args:
        roles: how often which process was killed.
        codes: how the programs ended.
        missed: how often the program was quicker than the kill.
        syncs: how long `sync` took after each.
    """

    roles: Counter[str] = field(default_factory=Counter[str])
    codes: Counter[int] = field(default_factory=Counter[int])
    missed: int = 0
    syncs: list[float] = field(default_factory=list[float])

    def __str__(self) -> str:
        answers = (
            f"sync: median {median(self.syncs):.2f} s, longest {max(self.syncs):.2f} s, {self.slow} over {SYNC:g} s"
        )
        who, how = dict(self.roles.most_common()), dict(self.codes.most_common())
        return f"{self.roles.total()} kills ({who}), {self.missed} too late; exit codes {how}; {answers}"

    @property
    def slow(self) -> int:
        """How often `sync` took longer than it should."""
        return sum(seconds > SYNC for seconds in self.syncs)


def tell(figures: Figures) -> None:
    """Write the figures where `pytest -s` shows them."""
    sys.stdout.write(f"{figures}\n")


def sync() -> float:
    """Call `sync` in a child and return how long it took; the child is given up where it hangs."""
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, "-S", "-c", "import os; os.sync()"], start_new_session=True)
    try:
        child.wait(BUSY)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"sync does not answer: {stuck()}") from None
    return time.monotonic() - started


def stuck() -> str:
    """The processes that cannot be interrupted."""
    found = psutil.process_iter(["pid", "name", "status"])
    return ", ".join(
        f"{each.info['name']} ({each.info['pid']})" for each in found if each.info["status"] == "disk-sleep"
    )


def family(pid: int) -> list[tuple[str, psutil.Process]]:
    """A process and all below it, each with what it is."""
    try:
        head = psutil.Process(pid)
        everybody = [head, *head.children(recursive=True)]
    except psutil.Error:
        return []
    return [(role, process) for process in everybody if (role := _role(process, pid))]


def _role(process: psutil.Process, head: int) -> str:
    try:
        words = process.cmdline()
        if not words or process.status() == psutil.STATUS_ZOMBIE:
            return ""
    except psutil.Error:
        return ""
    if process.pid == head:
        return "bake"
    name = Path(words[0]).name
    if name.startswith("python"):
        return next((word.rpartition(".")[2] for word in words if word.startswith("bakery.")), "python")
    return name


def killed(process: subprocess.Popen[Any], role: str, delay: float, figures: Figures) -> None:
    """Wait until a process of that role runs, then a little longer, and kill it; note who was killed.

    Args:
        process: the program.
        role: the name of a program, `bake` for the first process, `any` for whatever runs after the delay.
        delay: seconds.
        figures: where it is noted.
    """
    while process.poll() is None:
        everybody = family(process.pid)
        if role == "any" or any(name == role for name, _ in everybody):
            time.sleep(delay)
            name, victim = random.choice(
                [each for each in family(process.pid) if role in ("any", each[0])] or [("", None)]
            )
            if victim is None:
                break
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.Error:
                break
            figures.roles[name] += 1
            return
    figures.missed += 1


def left(folder: Path) -> Iterator[str]:
    """Processes, mounts and loop devices that have to do with a folder."""
    place = str(folder)
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(place in word for word in (process.cwd(), *process.cmdline())):
                yield f"process {process.name()} {process.pid} {process.status()}"
        except psutil.Error:
            continue
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if place in device.read_text():
                yield f"loop device {device.parents[1].name}"
        except OSError:
            continue
    for namespace in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            yield from (f"mount {line}" for line in namespace.read_text().splitlines() if place in line)
        except OSError:
            continue


def series(
    start: Callable[[], subprocess.Popen[bytes]],
    folder: Path,
    kills: Sequence[tuple[str, float]],
    clean: Callable[[], None],
) -> Figures:
    """Start a program again and again, kill one process of it each time, and see that nothing is left.

    Args:
        start: starts it, as the leader of a session.
        folder: what all its processes, mounts and files have in their names.
        kills: role and delay of each.
        clean: what is done afterwards, before it is looked for files.
    """
    figures = Figures()
    for role, delay in kills:
        process = start()
        killed(process, role, delay, figures)
        figures.codes[process.wait(END)] += 1
        figures.syncs.append(sync())
        until = time.monotonic() + END
        while (remains := list(left(folder))) and time.monotonic() < until:
            time.sleep(0.05)
        assert remains == [], f"left by a kill of {role} after {delay:.3f} s"
        clean()
    assert figures.slow <= len(figures.syncs) // 10, str(figures)
    return figures
