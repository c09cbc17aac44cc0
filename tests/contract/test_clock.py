"""The clock on the wall jumps by a year, also in the middle of a build: nothing waits for it, nothing stays young."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.clockshim import COMPILER, compiled, environment
from tests.contract.folderproject import FolderProject

DAY = 86_400
IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r})

@bakery.task(max_age="1h")
def hello(m):
    m.run("echo hello >/etc/hello; {pause}")

@bakery.test
def said_hello(host):
    assert host.file("/etc/hello").contains("hello")

@bakery.image(builtin_tests=False)  # one of them compares the machine's clock with ours
def hi():
    return None
"""
YEAR = 366

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler: tools/host-packages tests")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("shim"))


class Project(FolderProject):
    """An imagefile, its cloud, and a clock of its own for `bake`."""

    def __init__(self, folder: Path, shim: Path) -> None:
        super().__init__(folder, IMAGEFILE)
        self.clock = folder / "clock"
        self.environ |= environment(shim, self.clock)
        self.write(pause="true")
        self.shift(0)

    def shift(self, days: int) -> None:
        """Let the clock of `bake` be so many days off, also of one that runs."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{days * DAY}\n")
        fresh.replace(self.clock)

    def bake(self, *words: str) -> str:
        """Build, which must go well; return what it told."""
        with self.start("build", *words) as bake:
            told, _ = bake.communicate(timeout=120)
        assert bake.returncode == 0, told
        return told

    def events(self) -> Iterator[dict[str, Any]]:
        """What the last run has told so far."""
        log = self.state.runs()[-1].path / "events.jsonl" if self.state.runs() else None
        lines = log.read_text().splitlines(keepends=True) if log and log.exists() else []
        yield from (json.loads(line) for line in lines if line.endswith("\n"))

    def left(self) -> list[str]:
        return [record["id"] for record in self.cloud.list("machines")]


@pytest.fixture
def project(tmp_path: Path, shim: Path) -> Project:
    return Project(tmp_path, shim)


@pytest.mark.parametrize("days", [YEAR, -YEAR], ids=["forward", "back"])
def test_a_clock_that_jumps_under_a_build_does_not_disturb_it(project: Project, days: int) -> None:
    project.write(pause="sleep 3")
    began = time.monotonic()
    with project.start("build", "--deadline", "2m") as bake:
        while not any(event["type"] == "step-started" for event in project.events()):
            assert bake.poll() is None, bake.communicate()
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        project.shift(days)
        told, _ = bake.communicate(timeout=120)
    assert bake.returncode == 0, told
    assert time.monotonic() - began < 60
    assert project.left() == []
    seconds = [event["seconds"] for event in project.events() if "seconds" in event]
    assert min(seconds) >= 0
    assert max(seconds) < 60, "no duration comes from the clock on the wall"


def test_what_was_made_before_the_clock_was_set_back_does_not_count_as_young(project: Project) -> None:
    project.shift(YEAR)
    project.bake()
    assert "up to date" in project.bake()
    project.shift(0)
    told = project.bake()
    assert "the clock was set back since it ran" in told
    assert "up to date" in project.bake()


def test_what_is_too_old_after_a_jump_forward_is_made_again(project: Project) -> None:
    project.bake()
    project.shift(YEAR)
    assert "older than 1h" in project.bake()


def test_the_last_run_is_the_last_one_also_when_the_clock_was_set_back(project: Project) -> None:
    project.shift(YEAR)
    project.bake("--no-cache")
    first = project.state.runs()[-1].id
    project.shift(0)
    project.bake("--no-cache")
    assert next(run.id for run in project.state.runs()) == first
    assert len(project.state.runs()) == 2


def test_gc_takes_what_a_dead_run_left_whatever_the_clock_says(project: Project) -> None:
    project.write(pause="sleep 60")
    project.shift(YEAR)
    with project.start("build") as bake:
        while not any(event["type"] == "step-started" for event in project.events()):
            assert bake.poll() is None, bake.communicate()
            time.sleep(0.05)
        bake.kill()
    assert project.left() != []
    project.shift(-YEAR)
    with project.start("gc") as gc:
        told, _ = gc.communicate(timeout=60)
    assert gc.returncode == 0, told
    assert project.left() == []
