"""Where broken machines come from: one that was saved after its boot, or the image; and what is made of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from bakery.build.mutate import Mutants
from bakery.errors import DriverError, SmokeError
from bakery.machine.reboot import STARTED
from bakery.model import Artifact
from bakery.smoke import Identity, SmokeJob, SmokeReport, TestResult
from bakery.smoke.mutations import FIND

from .memory import Project, project

__all__ = ["project"]

IMAGE = """
@bakery.test
def answers(host): ...

@bakery.image(builtin_tests=False)
def web(): ...
"""
FOUND = "file\t/srv/a\nfile\t/srv/b\nclock\ttwo days ahead\n"


@pytest.fixture
def fails(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the tests fail, run after run; they pass when nothing more is said."""
    project.write(IMAGE)
    project.box.answer(FIND, FOUND).answer(STARTED, "running\n").answer("rm -f -- *", "").answer("chmod *", "")
    project.box.answer("date -s *", "")
    said: list[bool] = []

    def run(job: SmokeJob, *_: object) -> SmokeReport:
        project.driver.asked.append("test")
        outcome: Any = "failed" if said and said.pop(0) else "passed"
        result = TestResult(test=job.tests[0].name, outcome=outcome, seconds=0.1)
        return SmokeReport(results=(result,), seconds=0.1, identity=Identity())

    monkeypatch.setattr("bakery.smoke.whole.run_all", run)
    return said


def mutants(project: Project, **changes: Any) -> Mutants:
    run = project.run(test=True)
    image = Artifact(driver="memory", id="image-1", name="web", build="web@here", sha256="abc")
    given: dict[str, Any] = {"kinds": ("file", "clock"), "limit": 3, "at_once": 1, **changes}
    return Mutants(run, run.jobs["web@here"], image, **given)


def starts(project: Project) -> list[str]:
    """What machines were started from: the image, or what was saved."""
    return ["image" if asked.endswith("image-1") else "saved" for asked in project.driver.verbs("launch")]


def test_where_a_machine_can_be_saved_one_boots_and_all_go_on_from_there(project: Project, fails: list[bool]) -> None:
    project.driver.saves_boot_here = True
    fails += [False, True, True, True]
    made = mutants(project)
    made.all()
    assert starts(project) == ["image", "saved", "saved", "saved", "saved"]
    assert [result.noticed for result in made.results] == [("answers",)] * 3
    project.driver.asked.clear()
    fails += [False, True, True, True]
    mutants(project).all()
    assert starts(project) == ["saved"] * 4, "the next run finds it"


def test_where_none_can_be_saved_each_boots(project: Project, fails: list[bool]) -> None:
    fails += [False, True, True]
    made = mutants(project)
    with pytest.raises(SmokeError, match="did not notice 1 of 3 changes") as raised:
        made.all()
    assert starts(project) == ["image"] * 4
    assert raised.value.why in ("/srv/b is gone", "the clock is two days ahead", "/srv/a is gone")


def test_tests_that_fail_on_a_saved_machine_alone_have_booted_ones(project: Project, fails: list[bool]) -> None:
    project.driver.saves_boot_here = True
    fails += [True, False, True, True, True]
    mutants(project).all()
    assert starts(project) == ["image", "saved", "image", "image", "image", "image"]
    assert any("each machine boots: one that was saved" in notice for notice in project.notices)


def test_a_machine_that_cannot_be_saved_is_said_and_the_image_boots(project: Project, fails: list[bool]) -> None:
    project.driver.saves_boot_here = True
    project.driver.raises["checkpoint"] = [DriverError("no zstd")]
    fails += [False, True, True, True]
    mutants(project).all()
    assert starts(project) == ["image"] * 5
    assert any("none can be saved" in notice for notice in project.notices)


def test_tests_that_fail_on_a_machine_that_is_well_say_nothing(project: Project, fails: list[bool]) -> None:
    fails += [True]
    with pytest.raises(SmokeError, match="1 of 1 smoke tests failed"):
        mutants(project).all()
    assert starts(project) == ["image"]


def test_a_change_that_fails_on_the_machine_was_not_tried(project: Project, fails: list[bool]) -> None:
    project.box.answer("rm -f -- *", 1)
    fails += [False, True]
    made = mutants(project)
    made.all()
    assert sorted((bool(result.problem), result.mutation.kind) for result in made.results) == [
        (False, "clock"),
        (True, "file"),
        (True, "file"),
    ]
