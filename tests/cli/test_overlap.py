"""What goes on beside a build: the end of one machine while the next one boots, and what is made beforehand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bakery.build.context import BuildOptions
from bakery.build.run import Outcome, build
from bakery.drivers.registry import Registry
from bakery.errors import CleanupError, DriverError
from bakery.events import Event, Notice
from bakery.imagefile import loader
from bakery.imagefile.plan import plan
from bakery.imagefile.variables import Settings
from bakery.model import Artifact, Checkpoint, Handle, Resource
from bakery.state import gc
from bakery.state.claim import Claim
from bakery.state.destroy import destroy_all
from bakery.state.journal import Journal
from bakery.state.project import State
from bakery.testing.folder.cloud import FolderCloud
from bakery.testing.folder.driver import Folder, FolderDriver
from bakery.testing.folder.faults import Injection
from bakery.util.waiting import Cancel

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r})

@bakery.test
def boots(host):
    assert host.run("true").succeeded

@bakery.image(builtin_tests=False)
def web(): ...
"""


class Watched(FolderDriver):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def launch(self, boot: Folder | Artifact | Checkpoint, claim: Claim) -> Handle:
        self.asked.append(f"launch {claim.role}")
        return super().launch(boot, claim)

    def prepare_launch(self, boot: Folder, claim: Claim) -> None:
        del boot
        self.asked.append(f"foresee {claim.role} {claim.name}")

    def destroy(self, resource: Resource) -> None:
        self.asked.append(f"destroy {resource.kind}")
        super().destroy(resource)


class OneAtATime(Watched):
    """Its machines follow each other."""

    def overlaps(self, boot: Folder) -> bool:
        del boot
        return False


class Narrow(Watched):
    """Its cloud has room for one machine, and nothing can be made beforehand."""

    def __init__(self, cloud: FolderCloud) -> None:
        super().__init__()
        self.cloud = cloud

    def launch(self, boot: Folder | Artifact | Checkpoint, claim: Claim) -> Handle:
        if list(self.cloud.list("machines")):
            self.asked.append("no room")
            raise DriverError("the quota has no room for one more")
        return super().launch(boot, claim)

    def prepare_launch(self, boot: Folder, claim: Claim) -> None:
        del boot, claim
        raise DriverError("the quota has no room for one more address")


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = FolderCloud(folder / "cloud")
        self.events: list[Event] = []
        (folder / "imagefile.py").write_text(IMAGEFILE.format(cloud=str(folder / "cloud")), encoding="utf-8")

    def bake(self, driver: FolderDriver) -> Outcome:
        recipe, settings = loader.load(self.folder / "imagefile.py"), Settings(environ=dict(os.environ))
        drivers = Registry()
        drivers.add(driver)
        return build(
            plan(recipe, settings),
            recipe,
            settings,
            BuildOptions(),
            State(self.folder / ".bakery", self.folder / "cache"),
            drivers=drivers,
            readers=[self],
        )

    def read(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Nothing to close."""

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice)]

    def left(self) -> list[str]:
        self.cloud.faults.clear()
        return [str(record["name"]) for kind in ("keypairs", "machines") for record in self.cloud.list(kind)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_next_machine_is_asked_for_before_the_one_before_is_destroyed(project: Project) -> None:
    driver = Watched()
    assert project.bake(driver).exit_code == 0
    asked = [words.split()[:2] for words in driver.asked]
    assert asked.index(["foresee", "smoke"]) < asked.index(["launch", "smoke"]) < asked.index(["destroy", "machine"])
    assert project.left() == []


def test_where_machines_may_not_overlap_they_follow_each_other(project: Project) -> None:
    driver = OneAtATime()
    assert project.bake(driver).exit_code == 0
    assert driver.asked.index("destroy machine") < driver.asked.index("launch smoke")
    assert not [words for words in driver.asked if words.startswith("foresee")]


def test_without_room_for_both_the_second_waits_for_the_end_of_the_first(project: Project) -> None:
    driver = Narrow(project.cloud)
    assert project.bake(driver).exit_code == 0
    assert driver.asked.index("no room") < driver.asked.index("destroy machine") < driver.asked.index("launch smoke")
    assert any("once more, when the machine before is gone" in notice for notice in project.notices)
    assert any("not made beforehand: the quota has no room for one more address" in one for one in project.notices)
    assert project.left() == []


def test_what_cannot_be_destroyed_aside_is_left_to_gc_and_said(project: Project) -> None:
    project.cloud.faults.inject(Injection(call="delete_machines", fault="immortal", times=10_000))
    assert project.bake(Watched()).exit_code == CleanupError.exit_code
    assert project.left()
    project.cloud.faults.clear()
    for record in project.cloud.list("machines"):
        project.cloud._update("machines", record["id"], immortal=False)
    drivers = Registry()
    drivers.add(FolderDriver())
    assert gc.collect(State(project.folder / ".bakery", project.folder / "cache"), drivers.get).exit_code == 0
    assert project.left() == []


class Together(Watched):
    """Destroys two things only while both are being destroyed, and a third when they are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2, timeout=20)

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        return [list(resources[:2]), list(resources[2:])]

    def destroy(self, resource: Resource) -> None:
        if resource.kind != "last":
            self.both.wait()
        self.asked.append(resource.kind)
        if resource.kind == "stubborn":
            raise DriverError("no")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "run") as made:
        yield made


@pytest.fixture
def resource() -> Callable[[str], Resource]:
    return lambda kind: Resource(driver="folder", kind=kind, key=kind, run="r", build="web")


def test_what_does_not_depend_on_each_other_is_destroyed_at_the_same_time(
    journal: Journal, resource: Callable[[str], Resource]
) -> None:
    driver = Together()
    known = [resource(kind) for kind in ("first", "stubborn", "last")]
    errors = destroy_all(known, driver=lambda _: driver, journal=journal, cancel=Cancel())
    assert [error.what for error in errors] == [f"{known[1]} could not be destroyed"]
    assert sorted(driver.asked[:2]) == ["first", "stubborn"]
    assert driver.asked[2:] == ["last"]
