"""Many builds on the folder cloud, fifty at once: wall time beside one build, and memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench import BAKE, Aim, Cost, Project, Row, cost

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


ROUNDS = 3
PLANNED = 500
MANY = 200


def run(folder: Path) -> list[Row]:
    """Measure one build and fifty in turns, and what memory many take, run and planned."""
    pairs = [(_build(folder / f"one-{n}", 1), _build(folder / f"fifty-{n}", 50)) for n in range(ROUNDS)]
    one, fifty = (min(times) for times in zip(*pairs, strict=True))
    two_hundred = _build(folder / "many", MANY)
    first, all_planned = _plan(folder / "plan-one", 1), _plan(folder / "plan", PLANNED)
    fifty_mb, many_mb = fifty.memory, two_hundred.memory
    grown = (many_mb - one.memory) / (MANY - 1)
    flat = (many_mb - fifty_mb) / (MANY - 50)
    planned = (all_planned.memory - first.memory) / (PLANNED - 1)
    mega = Aim(1.0, "ours")
    peak = f"peak {many_mb:.0f} MB with {MANY}, {fifty_mb:.0f} with 50, {one.memory:.0f} with one"
    return [
        Row("50 builds on the folder cloud, each 2 s of task", "one build", fifty.wall, one.wall, Aim(1.3), str(fifty)),
        Row(f"{MANY} builds, --jobs 50, memory a build", "", grown, None, mega, peak, "MB"),
        Row("the same, of each build after the 50th", "", flat, None, mega, "flat if it is no more", "MB"),
        Row(
            f"{PLANNED} builds planned, memory a build",
            "",
            planned,
            None,
            mega,
            f"peak {all_planned.memory:.0f} MB",
            "MB",
        ),
    ]


def _build(folder: Path, count: int) -> Cost:
    project = Project(folder)
    project.write(IMAGEFILE.format(count=count, cloud="cloud"))
    return cost([*BAKE, "build", "--no-test", "--jobs", "50"], folder, project.environ)


def _plan(folder: Path, count: int) -> Cost:
    project = Project(folder)
    project.write(IMAGEFILE.format(count=count, cloud="cloud"))
    return cost([*BAKE, "plan"], folder, project.environ)
