"""Timing whole processes, and printing what they took beside each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass
class Project:
    """A folder with an imagefile, and a cache of its own.

    Args:
        folder: where it is.
    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Make the folder; the cache is inside, and Python's bytecode, which pip would have made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {"BAKERY_CACHE_DIR": "cache", "PYTHONPYCACHEPREFIX": "bytecode"}
        paths = {name: str(self.folder / path) for name, path in own.items()}
        self.environ = {**paths, "PYTHONDONTWRITEBYTECODE": "", **self.environ}

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

    def phases(self) -> str:
        """Return the seconds of each phase of the last run."""
        runs = sorted((self.folder / ".bakery" / "runs").iterdir())
        seconds: dict[str, float] = {}
        for line in (runs[-1] / "events.jsonl").read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["type"] == "phase-ended":
                seconds[event["phase"]] = seconds.get(event["phase"], 0.0) + event["seconds"]
            elif event["type"] == "step-ended":
                seconds["tasks"] = seconds.get("tasks", 0.0) + event["seconds"]
        return ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if value >= 0.05)  # noqa: PLR2004


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: str
    against: str
    ours: float
    theirs: float | None
    aim: str
    note: str = ""


def table(rows: Sequence[Row]) -> str:
    """Return a table in Markdown."""
    lines = ["| case | against | ours | theirs | ratio | aim | |", "|---|---|--:|--:|--:|---|---|"]
    for row in rows:
        theirs = "" if row.theirs is None else _seconds(row.theirs)
        ratio = "" if row.theirs is None else f"{row.ours / row.theirs:.{2 if row.ours > row.theirs / 10 else 3}f}"
        lines.append(
            f"| {row.case} | {row.against} | {_seconds(row.ours)} | {theirs} | {ratio} | {row.aim} | {row.note} |"
        )
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"
