"""Going on with a run that was killed: which machine is taken over, and what becomes of all the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakery.build.bake import bake
from bakery.build.claims import Claims
from bakery.build.context import RunContext
from bakery.build.incremental import IncrementalBuild
from bakery.build.machines import Machines
from bakery.build.resume import ResumedRun
from bakery.build.running import RunningMachine
from bakery.errors import CleanupError, DriverError, UsageError
from bakery.imagefile.builds import Step
from bakery.model import Artifact
from bakery.state.journal import JournalDamaged

from .memory import MemoryDriver, Project, left_in, project

__all__ = ["project"]

TASKS = """
@bakery.task
def first(m): ...

@bakery.task
def second(m):
    m.run("true")

@bakery.image(builtin_tests=False, hygiene=False)
def web(): ...
"""
Kill = Callable[..., str]


class Killed(Exception):  # noqa: N818  no error: what kill -9 does
    """The process is gone."""


@pytest.fixture
def kill(project: Project, monkeypatch: pytest.MonkeyPatch) -> Kill:
    """Builds until the second task, and dies there without a word; returns the run's id."""
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    begins = IncrementalBuild.begins

    def start_and_die(*, under_way: bool = False) -> str:
        def dies(steps: IncrementalBuild, step: Step, running: RunningMachine) -> None:
            if step.name == "second" and not under_way:
                raise Killed
            begins(steps, step, running)
            if step.name == "second":
                raise Killed

        run = project.run()
        with monkeypatch.context() as patch:
            patch.setattr(IncrementalBuild, "begins", dies)
            patch.setattr(Claims, "destroy", lambda *_: None)
            patch.setattr(Machines, "_end", lambda *_: None)
            with pytest.raises(Killed):
                bake(run.jobs["web@here"], run)
        project.close()
        project.driver.asked.clear()
        project.events.clear()
        return run.folder.id

    project.write(TASKS)
    return start_and_die


def resume(project: Project, killed: str) -> tuple[RunContext, ResumedRun]:
    run = project.run(resume=killed)
    resumed = run.resumed = ResumedRun(project.state.run(killed), run.drivers.get, run.cancel)
    return run, resumed


def finish(project: Project, killed: str) -> Artifact:
    run, resumed = resume(project, killed)
    resumed.clear({"web@here"})
    try:
        return bake(run.jobs["web@here"], run)
    finally:
        resumed.close()


def test_a_machine_that_was_between_two_tasks_is_gone_on_with(project: Project, kill: Kill) -> None:
    killed = kill()
    image = finish(project, killed)
    assert project.driver.verbs("launch") == []
    assert project.steps == [("first", "cached"), ("second", "ok")]
    assert "continues after first, on the machine that still runs" in project.notices
    assert image.key
    assert left_in(project.state.run(killed)) == []
    assert list(project.driver.there) == [image.id]


def test_a_task_that_was_under_way_begins_anew_at_the_checkpoint_before_it(project: Project, kill: Kill) -> None:
    killed = kill(under_way=True)
    image = finish(project, killed)
    (launched,) = project.driver.verbs("launch")
    assert launched.startswith("launch build from s1-")
    assert any("is not gone on with: there is a checkpoint that is as far" in notice for notice in project.notices)
    assert image.key
    assert list(project.driver.there) == [image.id]


def test_without_a_checkpoint_it_runs_again_on_the_machine_as_it_is_and_nothing_of_that_is_reused(
    project: Project, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "checkpoints_cost", True)
    image = finish(project, kill(under_way=True))
    assert project.driver.verbs("launch") == []
    assert "task second was interrupted, and runs again on the machine as it left it" in project.notices
    assert image.key == ""


def test_a_machine_whose_finished_tasks_have_changed_since_is_destroyed(project: Project, kill: Kill) -> None:
    killed = kill()
    project.write(TASKS.replace("def first(m): ...", "def first(m):\n    m.run('true')"))
    image = finish(project, killed)
    assert project.driver.verbs("launch") == ["launch build from source"]
    assert any("its finished steps have changed since" in notice for notice in project.notices)
    assert list(project.driver.there) == [image.id]


def test_a_machine_that_does_not_answer_any_more_is_given_up(
    project: Project, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = kill()
    endpoint, asked = MemoryDriver.endpoint, 0

    def dead_at_first(driver: MemoryDriver, handle: object) -> object:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DriverError("it was stopped")
        return endpoint(driver, handle)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(MemoryDriver, "endpoint", dead_at_first)
    assert finish(project, killed).key
    assert "the machine that the run left is not gone on with: it was stopped" in project.notices
    assert project.driver.verbs("destroy").count("destroy machine") == 2


# ---- the killed run itself -----------------------------------------------------------------------------------------


def test_what_belongs_to_no_machine_of_these_builds_is_destroyed_at_once(project: Project, kill: Kill) -> None:
    killed = kill()
    _, resumed = resume(project, killed)
    assert resumed.clear({"another@here"}) == 1
    assert resumed.survivor("web@here") is None
    assert resumed.close() == []
    assert (project.driver.there, left_in(project.state.run(killed))) == ({}, [])


def test_a_machine_is_given_to_one_build_once(project: Project, kill: Kill) -> None:
    _, resumed = resume(project, kill())
    assert resumed.clear({"web@here"}) == 0
    survivor = resumed.survivor("web@here")
    assert survivor is not None
    assert (survivor.driver, survivor.progress.done) == ("memory", 1)
    assert resumed.survivor("web@here") is None
    resumed.give_up(survivor)
    assert project.driver.there == {}
    resumed.close()


def test_what_nobody_took_over_is_left_for_another_attempt_or_destroyed(project: Project, kill: Kill) -> None:
    killed = kill()
    _, resumed = resume(project, killed)
    resumed.clear({"web@here"})
    (notice,) = resumed.close(spare=True)
    assert notice.hint == f"`bake build --resume {killed}` goes on with it, `bake gc {killed}` destroys it"
    assert len(project.driver.there) == 1
    _, resumed = resume(project, killed)
    resumed.clear({"web@here"})
    assert resumed.close() == []
    assert project.driver.there == {}


def test_what_cannot_be_destroyed_is_an_error_and_the_run_is_let_go_of(project: Project, kill: Kill) -> None:
    killed = kill()
    _, resumed = resume(project, killed)
    project.driver.raises["destroy"] = [DriverError("busy")] * 9
    with pytest.raises(CleanupError):
        resumed.clear(set())
    resumed.close()
    _, again = resume(project, killed)  # nobody holds it
    again.close()


def test_a_run_that_still_goes_on_is_not_continued(project: Project) -> None:
    project.write(TASKS)
    run = project.run()
    with pytest.raises(UsageError, match="still goes on"):
        ResumedRun(run.folder, run.drivers.get, run.cancel)


def test_a_run_whose_journal_is_damaged_is_not_continued(project: Project, kill: Kill) -> None:
    killed = kill()
    journal = project.state.run(killed).path / "journal.jsonl"
    journal.write_bytes(b"damaged\n" + journal.read_bytes())
    _, resumed = resume(project, killed)
    with pytest.raises(JournalDamaged, match="is damaged"):
        resumed.clear({"web@here"})
    resumed.close()
    assert len(project.driver.there) == 1
