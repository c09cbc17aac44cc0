"""Many builds in one process: one that fails disturbs no other, and all failures are shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bakery.testing.folder.faults import Injection
from tests.contract.folderproject import FolderProject

IMAGEFILE = """
import os
import signal
import bakery
from pathlib import Path
from bakery.testing.folder.cloud import FolderCloud
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    kind: str = "good"

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r})

@bakery.task
def work(m, v):
    m.write("/etc/kind", v.kind)
    if v.kind.startswith("raises"):
        raise ValueError(f"I am {{v.kind}}")
    if v.kind.startswith("exits"):
        m.run(f"echo I am {{v.kind}} >&2; exit 3")
    if v.kind.startswith("dies"):
        for machine in FolderCloud(Path({cloud!r})).list("machines"):
            if v.kind in machine["tags"]["bakery:build"]:
                os.kill(machine["pid"], signal.SIGKILL)
        m.run("sleep 60")
    m.run("sleep 1")

@bakery.test
def kind(host, v):
    assert host.file("/etc/kind").content_string == v.kind
    assert not v.kind.startswith("untested"), f"I am {{v.kind}}"

@bakery.image(matrix={{"kind": {kinds!r}}}, builtin_tests=False)
def many(v):
    return f"many-{{v.kind}}"
"""
GOOD = [f"good{n}" for n in range(6)]
BAD = ["raises1", "exits1", "untested1", "dies1", "raises2", "exits2"]
CODES = {"raises": 7, "exits": 7, "untested": 8, "dies": 5}


class Project(FolderProject):
    """An imagefile with many images, some of which fail."""

    def bake(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bakery", "-C", str(self.folder), *words],
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=240,
            env={**os.environ, **self.environ},
        )

    def images(self) -> list[str]:
        return sorted(record["name"] for record in self.cloud.list("images"))

    def left(self) -> list[str]:
        return [record["name"] for kind in ("machines", "keypairs") for record in self.cloud.list(kind)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, IMAGEFILE)


def test_builds_that_fail_disturb_no_other_and_each_failure_is_shown(project: Project) -> None:
    kinds = [kind for pair in zip(GOOD, BAD, strict=True) for kind in pair]
    project.write(kinds=kinds)
    done = project.bake("build", "--jobs", str(len(kinds)))
    assert done.returncode in set(CODES.values()), done.stderr
    assert "Traceback" not in done.stderr
    assert project.images() == [f"many-{kind}" for kind in GOOD], done.stderr
    assert project.left() == []
    for kind in BAD:
        (said,) = re.findall(rf"error: many\[kind={kind}\]@here: .*", done.stderr)
        others = [other for other in BAD if other != kind]
        assert not any(other in said for other in others)
    for kind in ("raises1", "raises2", "exits1", "exits2", "untested1"):
        assert f"I am {kind}" in done.stderr
    (run,) = (project.folder / ".bakery" / "runs").iterdir()
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    codes = {event["build"]: event["exit_code"] for event in events if event["type"] == "failed"}
    assert codes == {f"many[kind={kind}]@here": CODES[kind.rstrip("12")] for kind in BAD}
    ended = {event["build"]: event["outcome"] for event in events if event["type"] == "build-ended"}
    assert sorted(ended.values()) == ["failed"] * len(BAD) + ["ok"] * len(GOOD)
    for event in events:  # what one build's machine writes is never told of another
        for kind in BAD if event["type"] == "output" else ():
            if f"I am {kind}" in event["text"]:
                assert event["build"] == f"many[kind={kind}]@here"


def test_something_left_behind_counts_more_than_all_other_failures(project: Project) -> None:
    project.write(kinds=[*GOOD[:2], "raises1"])
    project.cloud.faults.inject(Injection(call="delete_keypairs", fault="denied", times=6))
    done = project.bake("build")
    assert done.returncode == 10, done.stderr
    assert "I am raises1" in done.stderr
    assert "bake gc" in done.stderr
    project.cloud.faults.clear()
    assert project.bake("gc").returncode == 0
    assert project.left() == []
