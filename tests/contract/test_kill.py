"""SIGKILL at every line of the journal, and signals in every phase: nothing is left that `bake gc` does not take."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from bakery.state.project import State
from bakery.testing.kill import KillMatrix
from tests.contract.folderproject import FolderProject

IMAGEFILE = """
import time
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r})

@bakery.task
def hello(m):
    {pause}
    m.write("/etc/hello", "hello")

@bakery.test
def said_hello(host):
    assert host.file("/etc/hello").contains("hello")
"""


class Project(FolderProject):
    """An imagefile whose only task may pause."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, IMAGEFILE)
        self.write(pause="pass")

    def exists(self) -> set[str]:
        """All that is in the cloud; the ids tell one image from the next."""
        return {
            f"{kind} {record['name']} {record.get('id', '')}"
            for kind in ("keypairs", "machines", "images")
            for record in self.cloud.list(kind)
        }

    def matrix(self, *words: str) -> KillMatrix:
        """Return the matrix of this project's build."""
        name = self.folder.name
        return KillMatrix(
            project=self.folder,
            exists=self.exists,
            words=("--no-cache", *words),
            environ=self.environ,
            image=lambda thing: thing.startswith(f"images {name} "),
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose cloud is empty."""
    return Project(tmp_path)


def check(project: Project, step: int) -> None:
    matrix = project.matrix()
    places = matrix.places()
    assert len(places) > 20, places
    leaks = {}
    for point in range(1, len(places) + 1, step):
        before = images(project)
        killed = matrix.kill_at(point)
        assert killed.exit_code == -9, killed.output
        assert killed.gc_code == 0, killed.output
        if killed.left:
            leaks[f"{point} {killed.place}"] = killed.left
        # Killed between the hand-over and the end of the old image, it leaves both; the next build takes older ones.
        assert len(images(project) - before) <= 1, "an image that nobody asked for"
        assert images(project), f"no image is left at all after {killed.place}"
    assert leaks == {}
    matrix.places()
    assert len(images(project)) == 1, "a build that is not killed leaves one image of its name"


def images(project: Project) -> set[str]:
    return {thing for thing in project.exists() if thing.startswith("images ")}


def test_a_build_that_is_killed_at_some_journal_lines_leaks_nothing(project: Project) -> None:
    check(project, step=7)


@pytest.mark.all
def test_a_build_that_is_killed_at_any_journal_line_leaks_nothing(project: Project) -> None:
    check(project, step=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_cancels_and_cleans_up(project: Project, number: signal.Signals) -> None:
    project.write(pause='m.run("sleep 60")')
    with project.start("build") as bake:
        wait_for(lambda: "step-started" in log(project), bake)
        bake.send_signal(number)
        output, _ = bake.communicate(timeout=60)
    assert bake.returncode == 130, output
    assert f"interrupted by {number.name}" in output
    assert project.exists() == set()


def test_a_second_signal_does_not_stop_the_clean_up(project: Project) -> None:
    project.write(pause='m.run("sleep 60")')
    with project.start("build") as bake:
        wait_for(lambda: "step-started" in log(project), bake)
        bake.send_signal(signal.SIGINT)
        bake.send_signal(signal.SIGTERM)
        output, _ = bake.communicate(timeout=60)
    assert bake.returncode == 130, output
    assert project.exists() == set()


def test_the_third_signal_leaves_the_rest_to_gc(project: Project) -> None:
    project.write(pause="time.sleep(60)")  # a task that cannot be interrupted
    with project.start("build") as bake:
        wait_for(lambda: "step-started" in log(project), bake)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            bake.send_signal(number)
            time.sleep(0.3)  # two equal signals at once would be one
        output, _ = bake.communicate(timeout=30)
    assert bake.returncode == 10, output
    assert "bake gc" in output
    assert project.exists() != set()
    with project.start("gc") as gc:
        gc.communicate(timeout=60)
    assert gc.returncode == 0
    assert project.exists() == set()


def test_gc_leaves_a_live_run_alone(project: Project) -> None:
    project.write(pause='m.run("sleep 8")')
    with project.start("build") as bake:
        wait_for(lambda: "step-started" in log(project), bake)
        with project.start("gc") as gc:
            gc.communicate(timeout=60)
        output, _ = bake.communicate(timeout=120)
    assert bake.returncode == 0, output


def test_two_builds_in_one_folder_at_once_both_succeed(project: Project) -> None:
    with project.start("build", "--no-cache") as one, project.start("build", "--no-cache") as other:
        outputs = [bake.communicate(timeout=120)[0] for bake in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    assert [thing.split()[0] for thing in project.exists()] == ["images"]


def test_many_builds_in_one_folder_and_on_one_cache_tear_nothing(project: Project) -> None:
    started = [project.start("build") for _ in range(5)]
    outputs = [bake.communicate(timeout=240)[0] for bake in started]
    assert [bake.returncode for bake in started] == [0] * 5, outputs
    with project.start("images", "--json", "--check") as images:
        listed, _ = images.communicate(timeout=60)
    assert images.returncode == 0, listed
    assert [thing.split()[0] for thing in project.exists()] == ["images"]
    with project.start("build") as bake:
        output, _ = bake.communicate(timeout=120)
    assert "up to date" in output
    with project.start("gc") as gc:
        assert gc.communicate(timeout=60)[0] == "nothing was left behind\n"


def log(project: Project) -> str:
    runs = State(project.folder / ".bakery", project.folder).runs()
    events = runs[-1].path / "events.jsonl" if runs else None
    return events.read_text(encoding="utf-8") if events and events.exists() else ""


def wait_for(condition: object, bake: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert bake.poll() is None, bake.communicate()
        if callable(condition) and condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to that")
