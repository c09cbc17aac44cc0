"""Timing whole processes, and printing what they took beside each other."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bakery.drivers.qemu.acceleration import choose
from bakery.state.project import cache_folder
from bakery.util.context import WorkContext

LOOK = 0.02
"""Seconds between two looks at a process's memory."""
BAKE = [sys.executable, "-m", "bakery"]


class Failed(Exception):  # noqa: N818  a command's end
    """A command that was to be timed ended with an error."""


def timed(words: Sequence[str | Path], cwd: Path, environ: Mapping[str, str] | None = None) -> float:
    """Run a command and return its wall time in seconds.

    Raises:
        Failed: with the end of what it said.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout[-3000:]}")
    return seconds


@dataclass(frozen=True, order=True)
class Cost:
    """What a process and its children took.

    Args:
        wall: seconds on the clock.
        processor: seconds of the processors.
        memory: at its peak, of the process alone, in MB of 2**20 bytes.
    """

    wall: float
    processor: float
    memory: float

    def __str__(self) -> str:
        return f"processor {self.processor:.1f} s"


def cost(words: Sequence[str | Path], cwd: Path, environ: Mapping[str, str] | None = None) -> Cost:
    """Run a command that says little, and return what it took.

    Raises:
        Failed: with the end of what it said.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        memory = 0.0
        # Not ru_maxrss: it is at least what this process has, as it is kept from before the child's exec.
        while not (done := os.wait4(process.pid, os.WNOHANG))[0]:
            memory = _peak(process.pid) or memory
            time.sleep(LOOK)
        _, status, usage = done
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            raise Failed(f"{' '.join(map(str, words))}: exit code {process.returncode}\n{said.read()[-3000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, memory)


def _peak(pid: int) -> float:
    """Return the most memory that a process had, in MB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


@dataclass
class Project:
    """A folder with an imagefile, and a cache of its own.

    Args:
        folder: where it is.
    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Make the folder; the cache is inside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {"BAKERY_CACHE_DIR": str(self.folder / "cache"), "PYTHONDONTWRITEBYTECODE": ""}
        self.environ = {**own, **self.environ}

    def write(self, text: str) -> None:
        """Write the imagefile."""
        (self.folder / "imagefile.py").write_text(text, encoding="utf-8")

    def bake(self, *words: str) -> float:
        """Time `bake build`."""
        return timed([*BAKE, "build", *words], self.folder, self.environ)

    def forget(self, *, steps: bool = True, images: bool = True) -> None:
        """Drop checkpoints and step records, and what was built; bases stay."""
        for name in ("steps", "records") if steps else ():
            shutil.rmtree(self.folder / "cache" / name, ignore_errors=True)
        if images:
            shutil.rmtree(self.folder / ".bakery", ignore_errors=True)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each phase of the last run, and of all its tasks as `tasks`."""
        runs = sorted((self.folder / ".bakery" / "runs").iterdir())
        seconds: dict[str, float] = {}
        for line in (runs[-1] / "events.jsonl").read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["type"] == "phase-ended":
                seconds[event["phase"]] = seconds.get(event["phase"], 0.0) + event["seconds"]
            elif event["type"] == "step-ended":
                seconds["tasks"] = seconds.get("tasks", 0.0) + event["seconds"]
        return seconds

    def phases(self) -> str:
        """Return the same as text, without what took no time."""
        return ", ".join(f"{name} {value:.1f}" for name, value in self.seconds().items() if value >= 0.05)  # noqa: PLR2004


@dataclass(frozen=True)
class Aim:
    """What a row is to reach.

    Args:
        limit: the largest value that meets it.
        of: what is compared: `ratio` of ours to theirs, `ours` alone, or what ours takes `more` than theirs.
    """

    limit: float
    of: Literal["ratio", "ours", "more"] = "ratio"

    def verdict(self, ours: float, theirs: float | None) -> str:
        """Return `met`, or `missed` and by how much."""
        value = ours
        if self.of != "ours":
            assert theirs is not None  # noqa: S101  a row without a peer has an aim of its own
            value = ours / theirs if self.of == "ratio" else ours - theirs
        return "met" if value <= self.limit else f"missed: {value / self.limit:.1f} times the aim"


@dataclass(frozen=True)
class Row:
    """One line of the table; `load` is the host's average of the minute before it was measured."""

    case: str
    against: str
    ours: float
    theirs: float | None
    aim: Aim | None = None
    note: str = ""
    unit: str = "s"
    load: float = field(default_factory=lambda: os.getloadavg()[0])


@functools.cache
def accelerator() -> str:
    """Return what runs guests on this host, as a source's `accel`: tried once."""
    return choose("auto", WorkContext(cache=cache_folder(os.environ)))


HEAD = ("case", "against", "ours", "theirs", "ratio", "aim", "verdict", "host", "load", "")


def table(rows: Sequence[Row]) -> str:
    """Return a table in Markdown."""
    host = f"{os.cpu_count()} cores, {accelerator().upper()}"
    lines = [" | ".join(HEAD), "|".join(["---"] * len(HEAD))]
    for row in rows:
        cells = [row.case, row.against, _shown(row.ours, row.unit)]
        cells += ["", ""] if row.theirs is None else [_shown(row.theirs, row.unit), _ratio(row.ours / row.theirs)]
        cells += ["", ""] if row.aim is None else [_aim(row), row.aim.verdict(row.ours, row.theirs)]
        lines.append(" | ".join([*cells, host, f"{row.load:.1f}", row.note]))
    return "\n".join(f"| {line} |" for line in lines)


def _aim(row: Row) -> str:
    assert row.aim is not None  # noqa: S101  its caller has looked
    if row.aim.of == "ratio":
        return f"{row.aim.limit:g}"
    return _shown(row.aim.limit, row.unit) + (" more" if row.aim.of == "more" else "")


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value > 0.1 else f"{value:.3f}"  # noqa: PLR2004


def _shown(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if value >= 1 else f"{value:.2f} {unit}"
