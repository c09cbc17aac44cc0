"""Tests that run once more after a reboot: which, with what knowledge of the time before, and what stops them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from bakery.build import after_reboot, verdict_key
from bakery.build.after_reboot import rebooting_tests, test_after_reboot
from bakery.build.nodes import NodeNetwork
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.errors import ConnectError, SmokeError
from bakery.machine import reboot
from bakery.model import Result
from bakery.smoke import Identity, SmokeJob, SmokeReport, TestResult
from tests.unit.machine.box import Asked

from .memory import Project, project

__all__ = ["project"]

IMAGE = """
@bakery.test
def once(host): ...

@bakery.test(reboot=True)
def twice(host): ...

@bakery.image(builtin_tests={builtin}, hygiene=False)
def web(): ...
"""
PASSED = SmokeReport(
    results=(TestResult(test="once", outcome="passed", seconds=0.1),),
    seconds=1.0,
    identity=Identity(machine_id="0123"),
)
again = test_after_reboot  # not one of this module's tests
del test_after_reboot


@pytest.fixture
def scope(project: Project) -> Iterator[Scope]:
    project.write(IMAGE.format(builtin=True))
    run = project.run(test=True)
    with Scope(run, run.jobs["web@here"]) as scope:
        yield scope


@pytest.fixture
def machine(project: Project, scope: Scope) -> Iterator[RunningMachine]:
    def restart(_: Asked) -> Result:
        project.box.restart()
        return Result(command="", exited=0)

    project.box.answer("*systemctl reboot*", restart).answer("*is-system-running --wait", "running\n")
    project.box.answer("*.bakery-sentinel*", "/.bakery-sentinel\n/srv/.bakery-sentinel\n/.bakery-sentinel\n")
    with scope.machine(scope.build.boot) as machine:
        yield machine


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[SmokeJob]:
    """What was tested after the reboot."""
    heard: list[SmokeJob] = []

    def run(job: SmokeJob, *_: object, **options: Any) -> SmokeReport:
        assert options == {"alone": False}
        heard.append(job)
        results = (TestResult(test=f"{test.name} after a reboot", outcome="passed", seconds=0.1) for test in job.tests)
        return SmokeReport(results=tuple(results), seconds=2.0, identity=Identity(machine_id="0123"))

    monkeypatch.setattr("bakery.smoke.runner.run", run)
    monkeypatch.setattr(after_reboot, "PytestProcess", nullcontext)
    return heard


def test_only_tests_that_want_it_run_again_and_one_report_tells_of_all(
    project: Project, scope: Scope, machine: RunningMachine, jobs: list[SmokeJob]
) -> None:
    report = again(scope, machine, PASSED, machine.claim, NodeNetwork())
    assert [result.test for result in report.results] == ["once", "twice after a reboot"]
    assert project.box.boot == 2
    (job,) = jobs
    assert [test.name for test in job.tests] == ["twice"]
    assert job.builtin == {"boot_is_finished", "no_failed_units", "survives_reboot"}
    assert job.junit.name == "web@here.rebooted.xml"
    assert "rebooting the machine: 1 test once more after it" in project.notices


def test_what_was_before_the_reboot_is_known_after_it(
    project: Project, scope: Scope, machine: RunningMachine, jobs: list[SmokeJob]
) -> None:
    again(scope, machine, PASSED, machine.claim, NodeNetwork())
    before = jobs[0].before
    assert before is not None
    assert before.identity == Identity(machine_id="0123")
    assert before.sentinels == ("/.bakery-sentinel", "/srv/.bakery-sentinel")
    planted = next(command for command in project.box.commands if ".bakery-sentinel" in command)
    assert f"echo {before.token} >" in planted


def test_a_machine_that_failed_already_is_not_rebooted(
    project: Project, scope: Scope, machine: RunningMachine, jobs: list[SmokeJob]
) -> None:
    failed = SmokeReport(
        results=(TestResult(test="once", outcome="failed", seconds=0.1),), seconds=1.0, identity=Identity()
    )
    assert again(scope, machine, failed, machine.claim, NodeNetwork()) is failed
    assert (project.box.boot, jobs) == (1, [])


def test_a_machine_that_does_not_come_back_fails_its_tests(
    project: Project, scope: Scope, machine: RunningMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectError("the machine has not restarted", why="it shows another host key")

    monkeypatch.setattr(reboot, "reboot", refuse)
    monkeypatch.setattr("bakery.machine.machine.Machine.reboot", refuse)
    monkeypatch.setattr(after_reboot, "PytestProcess", nullcontext)
    with pytest.raises(SmokeError, match="does not come back from a reboot: the machine has not") as raised:
        again(scope, machine, PASSED, machine.claim, NodeNetwork())
    assert raised.value.why == "it shows another host key"


def test_that_a_test_wants_a_reboot_decides_on_the_verdict(project: Project, scope: Scope) -> None:
    assert [test.name for test in rebooting_tests(scope.job)] == ["twice"]
    before = verdict_key.tests_key(scope.job, scope.run.state.cache)
    project.write(IMAGE.format(builtin=True).replace("@bakery.test(reboot=True)", "@bakery.test"))
    job = project.run().jobs["web@here"]
    assert rebooting_tests(job) == ()
    assert before != verdict_key.tests_key(job, scope.run.state.cache)
