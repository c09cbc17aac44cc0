"""Visits to a machine that is thrown away: how they are told, what they leave, and whose tests an image is to pass."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bakery.build.job import Jobs
from bakery.build.one_off import OneOffRun, build_of
from bakery.build.remote_host import RemoteHost
from bakery.build.retest import retest
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.drivers.registry import Registry
from bakery.errors import CleanupError, DriverError, ImagefileError, Interrupted, SmokeError, UsageError
from bakery.events import BuildEnded, Failed, ResourceChanged, RunEnded
from bakery.imagefile import loader
from bakery.imagefile.plan import plan
from bakery.imagefile.variables import Settings
from bakery.model import Artifact, Endpoint
from bakery.redaction.redactor import Redactor
from bakery.smoke.identity import Identity
from bakery.smoke.job import SmokeJob, SmokeReport, TestResult
from bakery.state.ssh_keys import Keys

from .memory import Project, left_in, project

__all__ = ["project"]

IMAGES = """
@bakery.test
def answers(host): ...

@bakery.image(builtin_tests=False)
def web(): ...
"""
SECRET = """
@bakery.variables
class Vars:
    password: bakery.Secret = bakery.secret(env="WEB_PASSWORD")
"""


def visit(project: Project, text: str = IMAGES, deadline: float | None = None, **environ: str) -> OneOffRun:
    project.write(text)
    recipe, settings = loader.load(project.folder / "imagefile.py"), Settings(environ=environ)
    drivers = Registry()
    drivers.add(project.driver)
    return OneOffRun(
        jobs=Jobs(plan(recipe, settings), recipe, settings),
        state=project.state,
        readers=[project],
        drivers=drivers,
        redactor=Redactor(),
        deadline=deadline,
    )


def image_of(project: Project, **fields: Any) -> Artifact:
    image = Artifact(driver="memory", id="image-1", name="web", format="memory", **{"build": "web@here", **fields})
    project.state.add_image(image)
    return image


def report(outcome: Any = "passed") -> SmokeReport:
    return SmokeReport(
        results=(TestResult(test="answers", outcome=outcome, seconds=0.1),), seconds=0.1, identity=Identity()
    )


@pytest.fixture
def tests(monkeypatch: pytest.MonkeyPatch) -> list[SmokeJob | SmokeReport]:
    """What runs tests: takes jobs, and says what the list begins with."""
    heard: list[SmokeJob | SmokeReport] = [report()]

    def run(job: SmokeJob, *_: object, **__: object) -> SmokeReport:
        heard.append(job)
        assert isinstance(heard[0], SmokeReport)
        return heard[0]

    monkeypatch.setattr("bakery.smoke.whole.run_all", run)
    monkeypatch.setattr("bakery.build.retest.started_tests", lambda *_: nullcontext())
    return heard


def test_a_machine_is_made_of_the_image_visited_and_destroyed(project: Project) -> None:
    seen: list[str] = []

    def look(scope: Scope, running: RunningMachine) -> None:
        seen.append(running.claim.role)
        assert left_in(scope.run.folder) == ["machine"]  # what a crash would leave

    one_off = visit(project)
    assert one_off.machine(one_off.jobs.plan.builds[0], image_of(project), look) == 0
    assert seen == ["smoke"]
    assert project.driver.verbs("launch", "destroy") == ["launch smoke from image-1", "destroy machine"]
    (run,) = project.state.runs()
    assert (left_in(run), run.about()["exit_code"]) == ([], 0)
    assert [event.outcome for event in project.of(BuildEnded)] == ["ok"]
    assert project.of(ResourceChanged)


def test_what_went_wrong_is_told_once_and_is_the_exit_code(project: Project) -> None:
    def look(*_: object) -> None:
        raise DriverError("the machine is gone", hint="look")

    one_off = visit(project)
    code = one_off.machine(one_off.jobs.plan.builds[0], image_of(project), look)
    assert code == DriverError.exit_code
    assert [(event.what, event.hint) for event in project.of(Failed)] == [("the machine is gone", "look")]
    assert [event.outcome for event in project.of(BuildEnded)] == ["failed"]
    assert project.state.runs()[0].about()["exit_code"] == code


def test_a_command_that_fails_there_is_a_run_that_failed(project: Project) -> None:
    one_off = visit(project)
    assert one_off.machine(one_off.jobs.plan.builds[0], image_of(project), lambda *_: 7) == 7
    assert [event.outcome for event in project.of(BuildEnded)] == ["failed"]
    assert project.of(RunEnded)[0].exit_code == 7
    assert project.state.runs()[0].about()["exit_code"] == 7


def test_a_machine_that_cannot_be_destroyed_is_worth_more_than_what_was_found_on_it(project: Project) -> None:
    project.driver.raises["destroy"] = [DriverError("busy")] * 9
    one_off = visit(project)
    assert one_off.machine(one_off.jobs.plan.builds[0], image_of(project), lambda *_: None) == CleanupError.exit_code
    assert project.of(RunEnded)[0].exit_code == CleanupError.exit_code


def test_a_visit_has_a_deadline(project: Project) -> None:
    one_off = visit(project, deadline=1e-9)
    assert one_off.machine(one_off.jobs.plan.builds[0], image_of(project), lambda *_: None) == Interrupted.exit_code
    assert project.driver.verbs("launch") == []


def test_secrets_must_be_there_only_where_they_are_used(project: Project) -> None:
    one_off = visit(project, SECRET + IMAGES)
    build = one_off.jobs.plan.builds[0]
    assert one_off.go(build, "memory", lambda _: None) == 0
    assert one_off.go(build, "memory", lambda _: None, needs_secrets=True) == ImagefileError.exit_code
    assert "the secret password is missing" in project.of(Failed)[0].what


def test_a_secret_is_taken_out_of_what_is_told(project: Project) -> None:
    def look(_: object) -> None:
        raise DriverError("no login with correct-horse")

    one_off = visit(project, SECRET + IMAGES, WEB_PASSWORD="correct-horse")
    one_off.go(one_off.jobs.plan.builds[0], "memory", look)
    assert "correct-horse" not in project.of(Failed)[0].what


# ---- whose tests -----------------------------------------------------------------------------------------------------

TWO = """
@bakery.image(matrix={"release": [1, 2]})
def web(v): return f"web-{v.release}"

@bakery.image
def db(): ...

@bakery.variables
class Vars:
    release: int = 0
"""


@pytest.mark.parametrize(
    ("made_by", "wanted", "name"),
    [
        ("web[release=2]@here", None, "web[release=2]@here"),
        ("web[release=2]@here", "db", "db@here"),
        ("", "web-2", "web[release=2]@here"),
        ("web[release=2]@here", "web", "web[release=2]@here"),
        ("", "db@here", "db@here"),
    ],
)
def test_an_image_passes_the_tests_of_who_made_it_or_of_whom_the_user_names(
    project: Project, made_by: str, wanted: str | None, name: str
) -> None:
    image = Artifact(driver="memory", id="1", name="it", build=made_by)
    assert build_of(image, visit(project, TWO).jobs.plan, wanted).name == name


def test_of_several_builds_whose_tests_differ_none_is_guessed(project: Project) -> None:
    disk = Artifact(driver="memory", id="1", name="it")
    with pytest.raises(UsageError, match="'web' means 2 builds, whose tests differ") as raised:
        build_of(disk, visit(project, TWO).jobs.plan, "web")
    assert raised.value.hint == "name one with --image: web-1@here, web-2@here"


@pytest.mark.parametrize(("made_by", "wanted"), [("gone@here", None), ("", None), ("web@here", "nothing")])
def test_where_that_cannot_be_told_the_images_are_named(project: Project, made_by: str, wanted: str | None) -> None:
    image = Artifact(driver="memory", id="1", name="it", build=made_by)
    with pytest.raises(UsageError, match=f"belongs to '{wanted or 'it'}'") as raised:
        build_of(image, visit(project, TWO).jobs.plan, wanted)
    assert raised.value.hint == "name one with --image: db, web-1, web-2"


def test_the_only_image_of_a_file_lends_its_tests_to_any_disk(project: Project) -> None:
    image = Artifact(driver="memory", id="1", name="it")
    assert build_of(image, visit(project).jobs.plan).name == "web@here"


# ---- tested again ----------------------------------------------------------------------------------------------------


def retested(project: Project, image: Artifact) -> int:
    one_off = visit(project)
    build = build_of(image, one_off.jobs.plan)
    return one_off.go(build, image.driver, partial(retest, job=one_off.jobs[build.name], artifact=image))


@pytest.mark.usefixtures("tests")
def test_an_image_that_passes_now_gets_the_verdict_of_its_tests(project: Project) -> None:
    image = image_of(project, verdict="failed")
    assert retested(project, image) == 0
    (known,) = project.state.images()
    assert known.verdict == "passed"
    assert known.data["tests"]


def test_an_image_that_fails_stays_and_is_marked(project: Project, tests: list[Any]) -> None:
    tests[0] = report("failed")
    image = image_of(project, verdict="passed", data={"tests": "the key of then"})
    assert retested(project, image) == SmokeError.exit_code
    (failed,) = project.of(Failed)
    assert failed.what == "1 of 1 smoke tests failed: answers"
    assert failed.hint.startswith("the image stays, and is marked as failed; the tests' report is in ")
    (known,) = project.state.images()
    assert (known.verdict, known.data["tests"]) == ("failed", None)


def test_a_disk_of_somebody_else_gets_no_verdict(project: Project, tests: list[Any]) -> None:
    theirs = image_of(project, build="")
    assert retested(project, theirs) == 0
    assert [known.verdict for known in project.state.images()] == [""]
    tests[0] = report("failed")
    assert retested(project, theirs) == SmokeError.exit_code
    assert [known.verdict for known in project.state.images()] == [""]


@pytest.mark.usefixtures("tests")
def test_an_image_with_something_in_it_fails_although_its_tests_pass(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object) -> None:
        raise SmokeError("the image holds what no image may hold")

    monkeypatch.setattr("bakery.build.retest.inspect_image", found)
    assert retested(project, image_of(project, verdict="passed")) == SmokeError.exit_code
    assert [known.verdict for known in project.state.images()] == ["failed"]


# ---- on a machine of the user's --------------------------------------------------------------------------------------

HOST = RemoteHost(Endpoint(host="web1"), Keys(user_private="", user_public="", host_private="", host_public=""))


def test_a_machine_of_the_users_gets_their_tests_and_none_of_ours(project: Project, tests: list[Any]) -> None:
    assert HOST.test(visit(project, IMAGES.replace("builtin_tests=False", "strict_host=False")), None) == 0
    (_, job) = tests
    assert (job.endpoint.host, [test.name for test in job.tests], job.builtin) == ("web1", ["answers"], frozenset())
    assert job.strict_host is False
    assert project.phases == [("smoke", "ok")]
    assert project.driver.asked == []


def test_a_failure_there_is_told_as_on_any_other_machine(project: Project, tests: list[Any]) -> None:
    tests[0] = replace(report("error"), results=(*report().results, *report("error").results))
    assert HOST.test(visit(project), "web") == SmokeError.exit_code
    assert project.phases == [("smoke", "failed")]
    assert project.of(Failed)[0].what == "1 of 2 smoke tests failed: answers"


def test_its_tests_may_use_secrets_so_none_may_be_missing(project: Project, tests: list[Any]) -> None:
    assert HOST.test(visit(project, SECRET + IMAGES), None) == ImagefileError.exit_code
    assert HOST.test(visit(project, SECRET + IMAGES, WEB_PASSWORD="correct-horse"), None) == 0
    assert tests[-1].secrets == {"password": "correct-horse"}


def test_an_image_that_is_not_in_the_imagefile_lends_no_tests(project: Project) -> None:
    with pytest.raises(UsageError, match="belongs to 'nothing'"):
        HOST.test(visit(project), "nothing")
    assert not Path(project.folder, ".bakery/runs").exists()
