"""The fault matrix: whatever a provider does, a build succeeds, or fails with the right exit code and nothing left."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.build.context import BuildOptions
from bakery.build.run import Outcome, build
from bakery.drivers.registry import Registry
from bakery.imagefile import loader
from bakery.imagefile.plan import plan
from bakery.imagefile.variables import Settings
from bakery.state import gc
from bakery.testing.folder.driver import FolderDriver
from bakery.testing.folder.faults import Fault, Injection
from tests.contract.folderproject import FolderProject

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r}, patience=1.5)

@bakery.task
def hello(m):
    m.write("/etc/hello", "hello")
"""
SUICIDE = """
@bakery.task
def dies(m):
    import os, signal
    from pathlib import Path
    from bakery.testing.folder.cloud import FolderCloud
    (machine,) = FolderCloud(Path(here().cloud)).list("machines")
    os.kill(machine["pid"], signal.SIGKILL)
    m.run("sleep 60")
"""
FOR_EVER = 10_000
OPTIONS = BuildOptions(test=False, connect_timeout=1.5)


class Project(FolderProject):
    """An imagefile and its cloud, whose builds run in this process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, IMAGEFILE)
        self.write()
        self.drivers = Registry()
        self.drivers.add(FolderDriver())

    def bake(self, options: BuildOptions = OPTIONS) -> Outcome:
        """Build in this process."""
        recipe, settings = loader.load(self.file), Settings(environ=dict(os.environ))
        return build(plan(recipe, settings), recipe, settings, options, self.state, drivers=self.drivers)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project whose cloud is empty."""
    return Project(tmp_path)


CALLS = (
    "create_keypair",
    "run_machine",
    "describe_machine",
    "stop_machine",
    "create_image",
    "describe_image",
    "rename_image",
    "delete_machines",
    "delete_keypairs",
    "list_keypairs",
)
FOR_NOW: tuple[Fault, ...] = ("throttled", "server-error", "answer-lost")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FOR_NOW)
def test_a_refusal_for_now_costs_a_moment_and_nothing_else(project: Project, call: str, fault: Fault) -> None:
    project.cloud.faults.inject(Injection(call=call, fault=fault))
    outcome = project.bake()
    assert {name: str(error) for name, error in outcome.errors.items()} == {}
    assert outcome.exit_code == 0
    (name,) = project.left()
    assert name.startswith("images ")


@pytest.mark.parametrize("call", [call for call in CALLS if not call.startswith(("delete", "list"))])
@pytest.mark.parametrize("fault", ["throttled", "quota", "denied"])
def test_a_refusal_for_good_fails_and_leaves_nothing(project: Project, call: str, fault: Fault) -> None:
    project.cloud.faults.inject(Injection(call=call, fault=fault, times=FOR_EVER))
    outcome = project.bake()
    assert outcome.exit_code in (5, 6), outcome.errors
    assert project.left() == []


@pytest.mark.parametrize("call", ["run_machine", "create_image"])
def test_what_is_not_visible_yet_is_waited_for(project: Project, call: str) -> None:
    project.cloud.faults.inject(Injection(call=call, fault="invisible"))
    assert project.bake(replace(OPTIONS, connect_timeout=10)).exit_code == 0
    assert len(project.left()) == 1


@pytest.mark.parametrize(
    ("call", "fault", "code", "words"),
    [
        ("run_machine", "dies", 5, "stopped"),
        ("run_machine", "broken", 5, "error"),
        ("run_machine", "stuck", 6, "building the machine"),
        ("create_image", "broken", 5, "killed"),
        ("create_image", "stuck", 5, "the image is pending"),
    ],
)
def test_what_will_never_come_is_not_waited_for_without_end(
    project: Project, call: str, fault: Fault, code: int, words: str
) -> None:
    project.cloud.faults.inject(Injection(call=call, fault=fault))
    outcome = project.bake()
    (error,) = outcome.errors.values()
    assert outcome.exit_code == code
    assert words in str(error)
    assert project.left() == []


@pytest.mark.parametrize(("call", "fault"), [("delete_machines", "immortal"), ("delete_keypairs", "denied")])
def test_what_cannot_be_destroyed_is_exit_code_10_and_gc_takes_it_later(
    project: Project, call: str, fault: Fault
) -> None:
    project.cloud.faults.inject(Injection(call=call, fault=fault, times=FOR_EVER))
    outcome = project.bake()
    assert outcome.exit_code == 10
    left = outcome.run.replay().live()
    assert len(left) == 1
    assert f"bake gc {outcome.run.id}" in str([error.hint for error in outcome.errors.values()])
    project.cloud.faults.clear()
    for record in project.cloud.list("machines"):
        project.cloud._update("machines", record["id"], immortal=False)
    assert gc.collect(project.state, project.drivers.get).exit_code == 0
    assert [name for name in project.left() if not name.startswith("images")] == []


def test_a_machine_that_dies_under_a_task_ends_the_build_at_once(project: Project) -> None:
    project.file.write_text(project.file.read_text(encoding="utf-8") + SUICIDE, encoding="utf-8")
    outcome = project.bake()
    assert outcome.exit_code == 5, outcome.errors
    assert project.left() == []


def test_replacing_an_image_never_leaves_none(project: Project) -> None:
    assert project.bake().exit_code == 0
    first = project.left()
    project.file.write_text(
        project.file.read_text(encoding="utf-8").replace('"hello")', '"changed")'), encoding="utf-8"
    )
    project.cloud.faults.inject(Injection(call="rename_image", fault="denied", times=FOR_EVER))
    assert project.bake().exit_code == 5
    assert project.left() == first
    old = project.cloud.list("images")[0]["id"]
    assert project.bake().exit_code == 0
    assert project.left() == first
    assert project.cloud.list("images")[0]["id"] != old
