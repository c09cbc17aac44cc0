"""The last of ten tasks changed: what it costs to have changed it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench import Project, Row

HEAD = """
import bakery
from bakery.drivers import Debian, Nspawn, Qemu

@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"), accel="tcg", memory="1G", cpus=2)

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), accel="tcg", memory="1G", cpus=2)

@bakery.image
def ten(): ...
"""
TASK = """
@bakery.task
def task{number}(m):
    m.run("dd if=/dev/urandom of=/root/{number} bs=1M count=4 status=none; echo {word} > /root/word{number}")
"""


def run(folder: Path) -> list[Row]:
    """Measure both local drivers."""
    project = Project(folder)
    rows: list[Row] = []
    for source, aim in (("container", "mkosi incremental"), ("machine", "the task plus 3 s")):
        project.write(imagefile("first"))
        cold = project.bake("--only", source, "--no-test")
        project.write(imagefile("second"))
        again = project.bake("--only", source, "--no-test")
        rows.append(
            Row(f"last of ten tasks changed, {source}", "a cold bake of ours", again, cold, aim, project.phases())
        )
    return rows


def imagefile(word: str) -> str:
    """Ten tasks; the last one says `word`."""
    return HEAD + "".join(TASK.format(number=n, word="same" if n < 10 else word) for n in range(1, 11))  # noqa: PLR2004
