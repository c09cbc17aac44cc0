"""Fifty builds on the folder cloud: wall time and memory, one to fifty at once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.bench import BAKE, Failed, Project, Row

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    number: int = 0

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r})

@bakery.task
def hello(m):
    m.run("sleep 2")

@bakery.image(matrix={{"number": list(range({count}))}})
def many(v) -> str:
    return f"many-{{v.number}}"
"""


def run(folder: Path) -> list[Row]:
    """Measure one build, then fifty."""
    one = _measure(folder / "one", 1)
    fifty = _measure(folder / "fifty", 50)
    each = (fifty[1] - one[1]) / 49 / 1024
    note = f"{each:.1f} MB of memory for each build more (aim: under 5)"
    return [Row("50 builds on the folder cloud, each 2 s of task", "one build", fifty[0], one[0], "flat", note)]


def _measure(folder: Path, count: int) -> tuple[float, int]:
    """Return wall seconds, and the peak memory of the process in KiB."""
    project = Project(folder)
    project.write(IMAGEFILE.format(count=count, cloud="cloud"))
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ.update(project.environ)
        with Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        os.execv(sys.executable, [*BAKE, "build", "--no-test", "--jobs", "50"])  # noqa: S606  no shell is wanted
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise Failed(f"{count} builds: status {status}")
    return time.perf_counter() - started, usage.ru_maxrss
