"""A run that was killed is gone on with: on its machine where that still runs, and nothing is ever left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bakery.state.project import RunFolder
from tests.contract.folderproject import FolderProject

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r})

@bakery.task
def first(m):
    m.run("echo first >>/etc/done")

@bakery.task
def second(m):
    m.run("echo begun >>/etc/done; {second}; echo second >>/etc/done")

@bakery.test
def both_are_done(host):
    assert host.file("/etc/done").content_string.endswith("second\\n")

@bakery.image(tests=[both_are_done], builtin_tests=False)
def two():
    return None
"""
BROKEN = """
from bakery.drivers import CloudImage, Qemu

@bakery.source
def broken():
    return Qemu(base=CloudImage(f"file://{__file__}", checksum="sha256:" + 64 * "0"), memory="900T")
"""
"""A source that does not pass the pre-flight."""


class Project(FolderProject):
    """An imagefile whose second task can hang, its cloud, and the runs of `bake` on it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, IMAGEFILE)
        self.hangs = f"sleep {random.randint(10**6, 10**7)}"
        self.write(second=self.hangs)

    def bake(self, *words: str, code: int = 0, **environ: str) -> str:
        with self.start(*words, environ=environ) as bake:
            told, _ = bake.communicate(timeout=120)
        assert bake.returncode == code, told
        assert "Traceback" not in told
        return told

    def killed(self, *words: str) -> RunFolder:
        """Start a build and kill it in the middle of its second task, whose command runs on."""
        with self.start("build", *words) as bake:
            deadline = time.monotonic() + 60
            while not self.sleepers():
                assert bake.poll() is None, bake.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            bake.kill()
        assert len(self.machines()) == 1
        self.write(second="true")
        return self.state.runs()[-1]

    def machines(self) -> list[str]:
        return [record["id"] for record in self.cloud.list("machines")]

    def left(self) -> list[str]:
        return [*self.machines(), *(record["name"] for record in self.cloud.list("keypairs"))]

    def done(self) -> list[str]:
        """What the image says was done on the machine, in order."""
        (image,) = (record["id"] for record in self.cloud.list("images"))
        archive = self.folder / "cloud" / "images" / image / "tree.tar"
        said = subprocess.run(["tar", "-xOf", archive, "./etc/done"], check=True, capture_output=True, text=True)
        return said.stdout.split()

    def sleepers(self) -> list[int]:
        """The processes of the second task's command."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended
                if (process / "cmdline").read_bytes().replace(b"\0", b" ").strip() == self.hangs.encode():
                    found.append(int(process.name))
        return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    for machine in made.machines():  # of a test that failed
        made.cloud.delete("machines", machine)


def between_steps(project: Project, run: RunFolder) -> None:
    """Let it look as if the run had been killed before the second task began."""
    (note,) = run.path.glob("machines/*/progress.json")
    known = json.loads(note.read_text())
    assert known["progress"]["began"] == "second"
    known["progress"]["began"] = ""
    note.write_text(json.dumps(known))
    for process in project.sleepers():
        os.kill(process, signal.SIGKILL)
    while project.sleepers():
        time.sleep(0.05)


def test_a_task_that_was_under_way_runs_again_on_the_machine_that_still_runs(project: Project) -> None:
    project.killed()
    assert project.sleepers(), "the command runs on, as on any machine of a cloud"
    machine = project.machines()
    told = project.bake("build", "--resume")
    assert "continues after first, on the machine that still runs" in told
    assert "task second was interrupted, and runs again" in told
    assert project.done() == ["first", "begun", "begun", "second"]
    assert not project.sleepers()
    assert project.left() == []
    assert machine != []
    assert "up to date" not in project.bake("build"), "what an interrupted task may have left is reused by nobody"


def test_a_run_that_was_killed_between_two_tasks_goes_on_as_if_nothing_had_been(project: Project) -> None:
    between_steps(project, project.killed())
    assert "continues after first, on the machine that still runs" in project.bake("build", "--resume")
    assert project.left() == []
    assert "up to date" in project.bake("build")


@pytest.mark.all
def test_a_run_that_is_killed_again_is_gone_on_with_again(project: Project) -> None:
    between_steps(project, project.killed())
    machine = project.machines()
    project.write(second=project.hangs)
    between_steps(project, project.killed("--resume"))
    assert project.machines() == machine
    assert "on the machine that still runs" in project.bake("build", "--resume")
    assert project.done() == ["first", "begun", "begun", "begun", "second"]
    assert project.left() == []


def test_a_machine_whose_finished_tasks_have_changed_is_destroyed(project: Project) -> None:
    project.killed()
    file = project.folder / "imagefile.py"
    file.write_text(file.read_text().replace("echo first", "echo other"))
    told = project.bake("build", "--resume")
    assert "is not gone on with: its finished steps have changed since" in told
    assert "continues from the start" in told
    assert project.done() == ["other", "begun", "second"]
    assert project.left() == []


def test_a_machine_that_died_meanwhile_is_replaced(project: Project) -> None:
    project.killed()
    (record,) = project.cloud.list("machines")
    os.kill(record["pid"], signal.SIGKILL)
    told = project.bake("build", "--resume")
    assert "is not gone on with" in told
    assert "continues from the start" in told
    assert project.done() == ["first", "begun", "second"]
    assert project.left() == []


def test_a_machine_that_was_kept_on_purpose_is_gone_on_with(project: Project) -> None:
    project.write(second="false || exit 3")
    project.bake("build", "--on-failure=keep", code=7)
    machine = project.machines()
    assert len(machine) == 1
    project.write(second="true")
    told = project.bake("build", "--resume")
    assert "continues after first, on the machine that still runs" in told
    assert project.left() == []


@pytest.mark.all
def test_gc_leaves_a_machine_alone_that_is_being_gone_on_with(project: Project) -> None:
    dead = project.killed()
    project.write(second="sleep 5")
    with project.start("build", "--resume") as bake:
        while len(project.state.runs()) < 2 or "moved" not in (dead.path / "journal.jsonl").read_text():
            assert bake.poll() is None, bake.communicate()
            time.sleep(0.05)
        assert "nothing was left behind" in project.bake("gc") or len(project.machines()) == 1
        told, _ = bake.communicate(timeout=120)
    assert bake.returncode == 0, told
    assert project.left() == []


def test_the_last_run_is_the_last_that_left_something(project: Project) -> None:
    project.write(second="true")
    project.bake("build")
    project.write(second=project.hangs)
    dead = project.killed("--no-cache")
    project.bake("test", "two")
    assert f"continuing {dead.id}" in project.bake("build", "--resume", "--no-cache")
    assert project.left() == []


def test_a_machine_is_not_lost_by_a_second_attempt_that_cannot_begin(project: Project) -> None:
    dead = project.killed()
    file = project.folder / "imagefile.py"
    good = file.read_text()
    file.write_text(good + BROKEN)
    told = project.bake("build", "--resume", code=4)
    file.write_text(good)
    assert "still runs" in told
    assert f"`bake gc {dead.id}` destroys it" in told
    assert len(project.machines()) == 1
    assert "on the machine that still runs" in project.bake("build", "--resume", dead.id)
    assert project.left() == []


@pytest.mark.all
def test_a_build_of_another_image_does_not_spare_the_machine(project: Project) -> None:
    project.killed()
    file = project.folder / "imagefile.py"
    file.write_text(file.read_text().replace("def two():", "def other():"))
    project.bake("build", "--resume")
    assert project.left() == []


def points(project: Project) -> int:
    """How many journal points a run has that goes on with another."""
    trace = project.folder / "points.txt"
    project.killed()
    project.bake("build", "--resume", BAKERY_CRASH_AT="0", BAKERY_CRASH_TRACE=str(trace))
    return len(trace.read_text().splitlines())


def check(project: Project, step: int) -> None:
    count, leaks = points(project), {}
    assert count > 20
    for point in range(1, count + 1, step):
        project.write(second=project.hangs)
        project.killed("--no-cache")
        project.bake("build", "--resume", code=-9, BAKERY_CRASH_AT=str(point))
        project.bake("gc")
        if project.left() or project.sleepers():
            leaks[point] = [*project.left(), *map(str, project.sleepers())]
    assert leaks == {}


@pytest.mark.timeout(300)
def test_a_run_that_goes_on_and_is_killed_at_some_journal_lines_leaks_nothing(project: Project) -> None:
    check(project, step=15)


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_a_run_that_goes_on_and_is_killed_at_any_journal_line_leaks_nothing(project: Project) -> None:
    check(project, step=1)
