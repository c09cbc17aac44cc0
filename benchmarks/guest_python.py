"""Salt on a machine for the time of a task: put together on this host, and by pip on the machine.

Each is the whole task, one `test.nop` applied. What pip does takes long where every instruction is emulated: it is
ended after `BAKERY_BENCH_PIP` seconds, and then the figure says at least how much it is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.bench import Failed, Project, Row

LIMIT = float(os.environ.get("BAKERY_BENCH_PIP", "900"))
SOURCES = ("container", "machine")
IMAGEFILE = """
import bakery
from bakery.drivers import Debian, Nspawn, Qemu
from bakery.provision import guest_python, salt

@bakery.source
def machine() -> Qemu:
    return Qemu(base=Debian("bookworm"), accel="tcg", disk="6G", memory="2G", cpus=2)

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), disk="6G")

@bakery.task
def lists(m):
    m.run("apt-get update --quiet")

@bakery.task
def here(m):
    salt(m, "web")

@bakery.task
def kept(m):
    salt(m, "web")

@bakery.task(timeout={limit})
def pip(m):
    guest_python.python_tree = lambda *_: None
    salt(m, "web")

@bakery.image(tasks=[lists, here, kept, pip])
def web(): ...
"""


def run(folder: Path) -> list[Row]:
    """Measure a container, and a machine that is emulated."""
    rows: list[Row] = []
    for source in SOURCES:
        project = Project(folder / source, {"UV_CACHE_DIR": str(folder / source / "uv")})
        project.write(IMAGEFILE.format(limit=LIMIT))
        (project.folder / "salt").mkdir()
        (project.folder / "salt" / "web.sls").write_text("nothing: {test.nop: []}\n", encoding="utf-8")
        note = ""
        try:
            project.bake("--only", source, "--no-test")
        except Failed:
            if steps(project).get("pip", 0) < LIMIT:
                raise
            note = f"pip was ended after {LIMIT:g} s"
        seconds = steps(project)
        for case, name in (("first", "here"), ("kept in the cache", "kept")):
            rows.append(Row(f"salt, {source}, {case}", "pip on the machine", seconds[name], seconds["pip"], None, note))
    return rows


def steps(project: Project) -> dict[str, float]:
    """Return the seconds of each task of the last run."""
    runs = sorted((project.folder / ".bakery" / "runs").iterdir())
    events = [json.loads(line) for line in (runs[-1] / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return {event["step"]: event["seconds"] for event in events if event["type"] == "step-ended"}
