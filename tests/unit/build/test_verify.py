"""From a captured image to one that is kept: inspected, booted, tested, compared with its clone; in that order."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from bakery.build import bake as page
from bakery.build.bake import bake
from bakery.build.logins import login_for
from bakery.errors import BakeryError, DriverError, ImagefileError, NotYet, PostError, SmokeError
from bakery.events import TestEnded
from bakery.model import Artifact, Login
from bakery.smoke.identity import SCRIPT, Identity
from bakery.smoke.job import SmokeJob, SmokeReport, TestResult
from bakery.state.project import State

from .memory import MemoryDriver, Project, left_in, project

__all__ = ["project"]

IMAGE = """
@bakery.task
def first(m): ...

@bakery.test
def answers(host): ...

@bakery.image(builtin_tests=False)
def web(): ...
"""


@pytest.fixture
def built(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    monkeypatch.setattr(page, "started_tests", lambda _: nullcontext())
    project.write(IMAGE)
    return project


@pytest.fixture
def jobs(built: Project, monkeypatch: pytest.MonkeyPatch) -> list[SmokeJob]:
    """What was tested; a test called `fails` fails."""
    heard: list[SmokeJob] = []

    def run(job: SmokeJob, *_: object) -> SmokeReport:
        heard.append(job)
        built.driver.asked.append("test")
        results = (
            TestResult(test=t.name, outcome="failed" if t.name == "fails" else "passed", seconds=0.1) for t in job.tests
        )
        return SmokeReport(results=tuple(results), seconds=0.1, identity=Identity(machine_id="the first clone's"))

    monkeypatch.setattr("bakery.smoke.whole.run_all", run)
    return heard


def make(project: Project, **options: Any) -> Artifact:
    run = project.run(test=True, **options)
    return bake(run.jobs["web@here"], run)


@pytest.mark.usefixtures("jobs")
def test_an_image_is_tested_on_a_machine_of_its_own_before_it_is_kept(built: Project) -> None:
    image = make(built)
    assert (image.verdict, [known.verdict for known in built.state.images()]) == ("passed", ["passed"])
    story = [
        asked.split()[0] for asked in built.driver.asked if asked.split()[0] in ("launch", "capture", "test", "keep")
    ]
    assert story == ["launch", "capture", "launch", "test", "keep"]
    phases = [name for name, _ in built.phases]
    assert phases[phases.index("capture") :] == [
        "capture",
        "clean-up",
        "relaunch",
        "reconnect",
        "smoke",
        "clean-up",
        "keep",
    ]


def test_the_tests_know_who_the_machine_was_that_the_image_is_made_of(built: Project, jobs: list[SmokeJob]) -> None:
    make(built)
    (job,) = jobs
    assert job.builder == Identity(machine_id="0123")
    assert job.junit.name == "web@here.xml"


@pytest.mark.usefixtures("jobs")
def test_an_image_that_fails_is_not_kept_and_leaves_nothing(built: Project) -> None:
    built.write(IMAGE.replace("answers", "fails"))
    with pytest.raises(SmokeError, match="1 of 1 smoke tests failed: fails") as raised:
        make(built)
    assert raised.value.hint.startswith("no image was kept; ")
    assert (built.state.images(), built.driver.there) == ([], {})
    assert built.driver.verbs("keep") == []


@pytest.mark.usefixtures("jobs")
def test_when_only_the_tests_have_changed_the_image_is_tested_again_and_not_made(built: Project) -> None:
    make(built)
    built.driver.asked.clear()
    built.write(IMAGE.replace("(host): ...", "(host): assert host"))
    assert make(built).verdict == "passed"
    assert built.driver.verbs("launch", "capture", "test", "keep")[1:] == ["test"]
    assert built.driver.asked[0].startswith("launch smoke from ")


@pytest.mark.usefixtures("jobs")
def test_one_that_was_kept_and_fails_other_tests_stays_and_is_marked(built: Project) -> None:
    make(built)
    built.write(IMAGE.replace("answers", "fails"))
    with pytest.raises(SmokeError) as raised:
        make(built)
    assert raised.value.hint.startswith("the image was kept before, and is marked as failed")
    assert [known.verdict for known in built.state.images()] == ["failed"]


def test_nothing_is_tested_that_must_not_leave_the_house(
    built: Project, jobs: list[SmokeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object) -> None:
        raise SmokeError("a key of the build is in it")

    monkeypatch.setattr(page, "inspect_image", found)
    with pytest.raises(SmokeError, match="a key of the build"):
        make(built)
    assert (jobs, built.state.images()) == ([], [])
    run = built.run(test=False)
    with pytest.raises(SmokeError, match="a key of the build"):  # also where nobody wants tests
        bake(run.jobs["web@here"], run)


def test_an_inspection_that_failed_does_not_wait_for_the_boot(
    built: Project, jobs: list[SmokeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object) -> None:
        raise SmokeError("a key of the build is in it")

    def booting(*_: object) -> NoReturn:
        raise NotYet("the machine boots")  # for ever

    monkeypatch.setattr(page, "inspect_image", found)
    launch = MemoryDriver.launch

    def launch_once(driver: MemoryDriver, boot: Any, claim: Any) -> Any:
        if claim.role == "smoke":
            monkeypatch.setattr(MemoryDriver, "endpoint", booting)
        return launch(driver, boot, claim)

    monkeypatch.setattr(MemoryDriver, "launch", launch_once)
    with pytest.raises(SmokeError, match="a key of the build"):
        make(built)
    assert (jobs, built.state.images(), built.driver.there) == ([], [], {})
    assert ("reconnect", "ok") not in built.phases


@pytest.mark.usefixtures("jobs")
def test_with_two_clones_the_second_must_be_another_machine(built: Project) -> None:
    built.box.answer(SCRIPT, "machine-id of-the-build\n", "machine-id another\n")
    assert make(built, clones=2).verdict == "passed"
    assert [event.test for event in built.of(TestEnded)] == ["clones_differ"]
    assert [asked.split()[1] for asked in built.driver.verbs("launch")] == ["build", "smoke", "clone"]


@pytest.mark.usefixtures("jobs")
def test_clones_of_one_identity_are_no_image(built: Project) -> None:
    built.box.answer(SCRIPT, "machine-id of-the-build\n", "machine-id the first clone's\n")
    with pytest.raises(SmokeError, match="two clones of the image are not two machines"):
        make(built, clones=2)
    assert (built.state.images(), built.driver.there) == ([], {})


# ---- keeping ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("jobs")
def test_an_image_that_the_catalogue_does_not_take_is_kept_all_the_same(
    built: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(State, "add_image", full)
    with pytest.raises(PostError, match="cannot be written into the catalogue") as raised:
        make(built)
    assert raised.value.artifact is not None
    assert list(built.driver.there) == [raised.value.artifact.id]
    assert left_in(built.state.runs()[-1]) == []


@pytest.mark.usefixtures("jobs")
def test_the_run_s_own_note_of_it_may_be_missing(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bakery.build.kept_images.write_whole", full)
    assert make(built).verdict == "passed"
    assert any("is not written: [Errno 28] No space left" in notice for notice in built.notices)


# ---- a provider's checkpoints, and logins ----------------------------------------------------------------------------


def test_a_provider_that_does_not_tell_of_its_checkpoints_costs_time_and_not_the_build(
    built: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise DriverError("no answer")

    monkeypatch.setattr(MemoryDriver, "list_checkpoints", refuses)
    run = built.run()
    assert bake(run.jobs["web@here"], run).key
    assert "no look at the provider's checkpoints: no answer" in built.notices


@pytest.mark.parametrize(
    ("login", "role", "key"),
    [
        (Login(user="app", key="keys/id"), "smoke", "/keys/id"),
        (Login(user="app", key="/keys/id"), "clone", "/keys/id"),
        (Login(user="app", key="agent"), "smoke", "agent"),
        (Login(user="app"), "smoke", ""),
        (Login(user="app", key="keys/id"), "build", ""),
        (None, "smoke", ""),
    ],
)
def test_only_machines_that_test_the_image_are_entered_as_the_image_says(
    built: Project, login: Login | None, role: str, key: str
) -> None:
    job = built.run().jobs["web@here"]
    job = replace(job, options=replace(job.options, login=login))
    found = login_for(job, role, "qemu")
    assert found.key == (f"{job.folder}{key}" if login and login.key.startswith("keys") and role != "build" else key)
    assert found.user == ("app" if login and role != "build" else "")
    if login and role != "build":
        with pytest.raises(ImagefileError, match="tested under QEMU"):
            login_for(job, role, "memory")


def test_an_image_of_another_imagefile_is_not_replaced_unawares(built: Project) -> None:
    run = built.run()
    bake(run.jobs["web@here"], run)
    (built.folder / "other.py").write_text("")
    (image,) = built.state.images()
    built.state.mark_image(replace(image, data={**image.data, "imagefile": "other.py"}))
    error = built.build("web", cache=False).errors[""]
    assert isinstance(error, BakeryError)
    assert error.what == "other.py in this folder has made an image web, and this one would take its place"
    (built.folder / "other.py").unlink()
    assert built.build("web", cache=False).exit_code == 0
