"""`bake plan --explain` of 40 images and 400 builds, beside the same by the first version that could explain a plan.

That version is taken from this repository's history and runs in this Python, so a clone that has none is no place for
this case.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.bench import BAKE, Aim, Cost, Failed, Project, Row, cost

OLD = "e393dba"
"""The last commit of 2026-11-23, which planned 400 builds in 6.2 s."""
ROOT = Path(__file__).parents[1]
ROUNDS = 3
HEAD = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    number: int = 0

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud="cloud")
"""
TASK = """
@bakery.task
def task{number}(m, v):
    m.write("/etc/word{number}", str(v.number))
    m.run("true")
"""
IMAGE = """
@bakery.image(matrix={{"number": list(range(10))}}, tasks=[{tasks}])
def image{number}(v) -> str:
    return f"image{number}-{{v.number}}"
"""


def run(folder: Path) -> list[Row]:
    """Measure both in turns; the one that took the least processor time counts."""
    old = folder / "old"
    folder.mkdir(parents=True)
    _git("worktree", "add", "--quiet", "--detach", str(old), OLD)
    try:
        project = Project(folder / "ours")
        project.write(imagefile())
        times = [(_plan(project, ROOT), _plan(project, old)) for _ in range(ROUNDS)]
    finally:
        _git("worktree", "remove", "--force", str(old))
    ours, theirs = (min(costs, key=lambda one: one.processor) for costs in zip(*times, strict=True))
    case = "bake plan --explain, 40 images, 400 builds, processor time"
    return [Row(case, f"bakery at {OLD}", ours.processor, theirs.processor, Aim(0.1), f"wall {ours.wall:.2f} s")]


def imagefile() -> str:
    """Forty images of ten tasks, each for ten values of a variable."""
    tasks = "".join(TASK.format(number=number) for number in range(10))
    names = ", ".join(f"task{number}" for number in range(10))
    return HEAD + tasks + "".join(IMAGE.format(number=number, tasks=names) for number in range(40))


def _plan(project: Project, root: Path) -> Cost:
    return cost([*BAKE, "plan", "--explain"], project.folder, {**project.environ, "PYTHONPATH": str(root)})


def _git(*words: str) -> None:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"the peer is {OLD} of this repository's history: {done.stderr.strip()}")
