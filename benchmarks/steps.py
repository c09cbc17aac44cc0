"""The last of ten tasks changed: what it costs to have changed it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench import Aim, Project, Row, accelerator

HEAD = """
import bakery
from bakery.drivers import Debian, Nspawn, Qemu

@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"), accel={accel!r}, memory="1G", cpus=2)

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), accel={accel!r}, memory="1G", cpus=2)

@bakery.image
def ten(): ...
"""
TASK = """
@bakery.task
def task{number}(m):
    m.run("dd if=/dev/urandom of=/root/{number} bs=1M count=4 status=none; echo {word} > /root/word{number}")
"""


LAST = 10
MORE = 3.0
"""Seconds that a bake may take besides the task that was changed."""


def run(folder: Path) -> list[Row]:
    """Measure both local drivers; for Nspawn's peer see the case `mkosi`."""
    project = Project(folder)
    rows: list[Row] = []
    for source in ("container", "machine"):
        project.write(imagefile("first"))
        cold = project.bake("--only", source, "--no-test")
        project.write(imagefile("second"))
        again = project.bake("--only", source, "--no-test")
        aim = Aim(project.seconds()["tasks"] + MORE, "ours")
        case = f"last of ten tasks changed, {source}, no smoke test"
        rows.append(Row(case, "a cold bake of ours", again, cold, aim, project.phases()))
    return rows


def imagefile(word: str) -> str:
    """Ten tasks; the last one says `word`."""
    tasks = (TASK.format(number=n, word="same" if n < LAST else word) for n in range(1, LAST + 1))
    return HEAD.format(accel=accelerator()) + "".join(tasks)
