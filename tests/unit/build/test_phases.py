"""What a build does with machines of its finished image: clones that must differ, verdicts, the way in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NoReturn

import pytest

from bakery.build.keeping import capture
from bakery.build.phases import check_clones_differ, seal
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.smoke_tests import SuiteChoice, started_tests
from bakery.build.verdicts import judging, with_verdict
from bakery.errors import DriverError, ImagefileError, SmokeError, TaskError
from bakery.events import TestEnded
from bakery.machine.packages import SCRIPT as PACKAGES
from bakery.model import Artifact
from bakery.smoke.identity import SCRIPT, Identity
from bakery.smoke.process import PytestProcess
from bakery.util.results import Lost

from .memory import Project, project

__all__ = ["project"]

IMAGE = """
@bakery.test
def answers(host): ...

@bakery.image(builtin_tests=False, hygiene=False)
def web(): ...
"""


@pytest.fixture
def scope(project: Project) -> Iterator[Scope]:
    project.write(IMAGE)
    run = project.run(test=True)
    with Scope(run, run.jobs["web@here"]) as scope:
        yield scope


@pytest.fixture
def machine(scope: Scope) -> Iterator[RunningMachine]:
    with scope.machine(scope.build.boot) as machine:
        yield machine


def kept(scope: Scope, **fields: str) -> Artifact:
    image = Artifact(driver="memory", id="image-1", name="web", build="web@here", data={"tests": "old"}, **fields)  # type: ignore[arg-type]  # texts of it
    scope.run.state.add_image(image)
    return image


@pytest.mark.parametrize(
    ("choice", "started"),
    [
        (None, (True, False)),
        (SuiteChoice(paths=("tests",)), (True, True)),
        (SuiteChoice(paths=("tests",), arguments=("-x",)), (True, True)),
        (SuiteChoice(paths=("tests",), arguments=("-vv",)), (True, False)),
        (SuiteChoice(paths=("tests",), terminal=nullcontext), (True, False)),
    ],
)
def test_what_runs_the_tests_loads_while_the_machine_boots(
    scope: Scope, monkeypatch: pytest.MonkeyPatch, choice: SuiteChoice | None, started: tuple[bool, bool]
) -> None:
    """Save a suite of which somebody follows pytest's own words: these are heard from the start."""
    alive: list[PytestProcess] = []

    def begin(process: PytestProcess) -> PytestProcess:
        alive.append(process)
        return process

    monkeypatch.setattr(PytestProcess, "__enter__", begin)
    monkeypatch.setattr(PytestProcess, "__exit__", lambda self, *_: alive.remove(self))
    with started_tests(scope, choice) as made:
        assert (made.own is not None, made.suites is not None) == started
        assert len(alive) == sum(started)
    assert not alive


def test_clones_that_differ_are_two_machines(project: Project, scope: Scope, machine: RunningMachine) -> None:
    check_clones_differ(scope, machine, Identity(machine_id="another"))
    assert [(event.test, event.outcome) for event in project.of(TestEnded)] == [("clones_differ", "passed")]


def test_clones_of_one_identity_make_the_image_unfit(project: Project, scope: Scope, machine: RunningMachine) -> None:
    with pytest.raises(SmokeError, match="two clones of the image are not two machines") as raised:
        check_clones_differ(scope, machine, Identity(machine_id="0123"))
    assert raised.value.why
    assert [event.outcome for event in project.of(TestEnded)] == ["failed"]
    assert ("clone", "failed") in project.phases


def test_who_the_machine_was_is_known_before_the_seal_changes_it(
    project: Project, scope: Scope, machine: RunningMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sealed(*_: object) -> list[str]:
        project.box.answer(SCRIPT, "machine-id changed\n")
        return ["sealed"]

    monkeypatch.setattr("bakery.machine.seal.seal", sealed)
    seal(scope, machine)
    assert scope.identity == Identity(machine_id="0123")


@pytest.mark.parametrize("look", [SCRIPT, PACKAGES])
def test_a_connection_that_ends_under_a_look_of_ours_is_no_defect(
    project: Project, scope: Scope, machine: RunningMachine, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.box.answer(look, Lost("the connection ended"))
    with pytest.raises(TaskError, match="the connection was lost under `l"):
        seal(scope, machine)

    def dead() -> NoReturn:
        raise DriverError("the machine is dead")

    monkeypatch.setattr(machine.link, "endpoint", dead)
    with pytest.raises(DriverError, match="the machine is dead"):
        seal(scope, machine)


def test_an_image_whose_tests_fail_is_said_to_be_kept_nowhere(scope: Scope, machine: RunningMachine) -> None:
    image = capture(scope, machine)
    with pytest.raises(SmokeError) as raised, judging(scope, image):
        raise SmokeError("no", hint="look")
    assert raised.value.hint == "no image was kept; look"


def test_one_that_was_kept_before_is_marked_as_failed(scope: Scope) -> None:
    image = kept(scope, verdict="passed")
    with pytest.raises(SmokeError) as raised, judging(scope, image):
        raise SmokeError("no")
    assert raised.value.hint == "the image was kept before, and is marked as failed"
    (marked,) = scope.run.state.images()
    assert (marked.verdict, marked.data["tests"]) == ("failed", None)


def test_an_image_gets_the_key_of_the_tests_that_it_passed(scope: Scope) -> None:
    image = with_verdict(scope, kept(scope))
    assert image.verdict == "passed"
    assert image.data["tests"] not in (None, "old")


def test_what_is_known_of_an_image_stays_where_nobody_tests_it(project: Project) -> None:
    project.write(IMAGE)
    run = project.run()
    with Scope(run, run.jobs["web@here"]) as scope:
        assert with_verdict(scope, kept(scope, verdict="failed")).verdict == "failed"
        assert with_verdict(scope, kept(scope)).verdict == "untested"


def test_a_login_for_the_tests_is_refused_where_the_source_cannot_take_it(project: Project) -> None:
    project.write(IMAGE.replace("hygiene=False", 'hygiene=False, login=bakery.Login(user="deploy")'))
    with pytest.raises(ImagefileError, match="login"):
        project.run()
