"""The life of one build on a provider in memory: what is made, restored, tried again, kept and destroyed."""

from __future__ import annotations

import pytest

from bakery.build.bake import bake
from bakery.build.context import Choice, RunContext
from bakery.build.scope import Scope
from bakery.errors import CleanupError, DriverError, ImagefileError, Interrupted, PostError, RetryableError, TaskError
from bakery.model import Artifact

from .memory import Project, answering, left_in, project

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


@pytest.fixture
def built(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose machines are sealed without a word: the seal has tests of its own."""
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    project.write(TASKS)
    return project


def make(project: Project, run: RunContext | None = None, name: str = "web@here") -> Artifact:
    run = run or project.run()
    return bake(run.jobs[name], run)


def test_a_build_goes_through_its_phases_and_leaves_nothing_but_the_image(built: Project) -> None:
    run = built.run()
    image = make(built, run)
    phases = ["base", "launch", "connect", "seal", "capture", "clean-up", "keep"]
    assert built.phases == [(name, "ok") for name in phases]
    assert built.steps == [("first", "ok"), ("second", "ok")]
    assert image.key.startswith("i1-")
    assert (image.build, image.verdict) == ("web@here", "untested")
    assert [kept.id for kept in built.state.images()] == [image.id]
    assert list(built.driver.there) == [image.id]
    assert left_in(run.folder) == []


def test_a_second_run_finds_the_image_and_asks_the_provider_for_nothing(built: Project) -> None:
    first = make(built)
    built.driver.asked.clear()
    assert make(built).key == first.key
    assert built.driver.asked == []


def test_a_changed_task_begins_at_the_checkpoint_before_it(built: Project) -> None:
    make(built)
    built.driver.asked.clear()
    built.events.clear()
    built.write(TASKS.replace('m.run("true")', 'm.run("true"); m.run("true")'))
    make(built)
    (launched,) = built.driver.verbs("launch")
    assert launched.startswith("launch build from s1-")
    assert built.steps == [("first", "cached"), ("second", "ok")]


def test_without_a_cache_every_step_runs_and_no_checkpoint_is_made(built: Project) -> None:
    make(built)
    built.driver.asked.clear()
    built.events.clear()
    make(built, built.run(cache=False))
    assert built.driver.verbs("launch", "checkpoint") == ["launch build from source"]
    assert built.steps == [("first", "ok"), ("second", "ok")]


def test_a_checkpoint_that_cannot_be_made_costs_time_and_not_the_build(built: Project) -> None:
    built.driver.raises["checkpoint"] = [DriverError("no room")]
    assert make(built).key
    assert "no checkpoint: no room" in built.notices


def test_a_checkpoint_that_does_not_boot_is_dropped_and_the_one_before_it_is_tried(built: Project) -> None:
    make(built)
    built.write(TASKS.replace("@bakery.image", "@bakery.task\ndef third(m): ...\n\n@bakery.image"))
    built.driver.asked.clear()
    built.driver.raises["launch"] = [DriverError("it does not start")]
    make(built)
    assert len(built.driver.verbs("launch")) == 2
    assert built.driver.verbs("launch")[0] != built.driver.verbs("launch")[1]
    assert any("is dropped: it does not start" in notice for notice in built.notices)


def test_a_provider_that_says_for_now_is_asked_again(built: Project) -> None:
    built.driver.raises["launch"] = [RetryableError("too many at once"), RetryableError("too many at once")]
    make(built)
    assert built.driver.verbs("launch") == ["launch build from source"] * 3
    assert "attempt 1 failed: too many at once; trying again" in built.notices


def test_a_machine_that_is_not_launched_is_destroyed_from_what_was_intended(built: Project) -> None:
    built.driver.raises["launch"] = [DriverError("no")]
    run = built.run()
    with pytest.raises(DriverError, match="no"):
        make(built, run)
    assert built.driver.verbs("destroy") == ["destroy machine"]
    assert left_in(run.folder) == []


def test_an_image_that_is_not_kept_is_destroyed_with_its_machine(built: Project) -> None:
    built.driver.raises["keep"] = [DriverError("the name is taken")]
    run = built.run()
    with pytest.raises(DriverError, match="the name is taken"):
        make(built, run)
    assert sorted(built.driver.verbs("destroy")) == ["destroy image", "destroy machine"]
    assert (built.driver.there, left_in(run.folder), built.state.images()) == ({}, [], [])


def test_what_cannot_be_destroyed_is_said_at_the_end_and_stays_in_the_journal(built: Project) -> None:
    built.driver.raises["destroy"] = [DriverError("busy")] * 9
    run = built.run()
    with pytest.raises(CleanupError, match="machine") as caught:
        make(built, run)
    assert left_in(run.folder) == ["machine"]
    (image,) = built.state.images()  # it is the user's all the same
    assert caught.value.artifact == image
    assert caught.value.hint == f"bake gc {run.folder.id}; the image is kept: {image.id}"


def test_a_cancelled_build_cleans_up_and_says_so(built: Project) -> None:
    run = built.run()
    run.cancel.set("Ctrl-C")
    with pytest.raises(Interrupted):
        make(built, run)
    assert built.driver.verbs("launch", "capture") == []
    assert left_in(run.folder) == []


# ---- tasks ---------------------------------------------------------------------------------------------------------


def test_a_task_is_tried_as_often_as_it_says_and_tells_of_every_attempt(built: Project) -> None:
    built.write(TASKS.replace("@bakery.task\ndef second", "@bakery.task(retries=2)\ndef second"))
    built.box.answer("true", 1, 2, 3)
    with pytest.raises(TaskError) as raised:
        make(built)
    assert built.steps == [("first", "ok"), *[("second", "failed")] * 3]
    assert "earlier attempts:\nattempt 1: " in raised.value.why
    assert "attempt 2: " in raised.value.why
    assert built.driver.there == {}


def test_a_task_that_succeeds_at_last_is_done(built: Project) -> None:
    built.write(TASKS.replace("@bakery.task\ndef second", "@bakery.task(retries=2)\ndef second"))
    built.box.answer("true", 1, "")
    make(built)
    assert built.steps == [("first", "ok"), ("second", "failed"), ("second", "ok")]


def test_a_failed_task_may_be_skipped_and_what_comes_of_it_is_not_reused(built: Project) -> None:
    ask, heard = answering("skip")
    built.box.answer("true", 1, "")
    image = make(built, built.run(on_failure="ask", ask=ask))
    assert len(heard) == 1
    assert heard[0].startswith("web@here: second: ")
    assert image.key == ""
    assert "task second failed and was skipped" in built.notices


def test_a_retried_task_is_the_one_of_the_mended_imagefile(built: Project) -> None:
    def mend(*_: object) -> Choice:
        built.write(TASKS.replace('m.run("true")', 'm.run("mended")'))
        return "retry"

    built.box.answer("true", 1).answer("mended", "")
    run = built.run(on_failure="ask", ask=mend)
    image = make(built, run)
    assert built.steps == [("first", "ok"), ("second", "failed"), ("second", "ok")]
    assert image.key
    built.driver.asked.clear()
    make(built)
    assert built.driver.asked == []  # it is what a build of the mended file would make


def test_a_slip_in_the_mended_imagefile_is_asked_about_again_on_the_same_machine(built: Project) -> None:
    texts = [TASKS.replace("def second(m):", "def second(m:"), TASKS.replace('m.run("true")', "pass")]
    asked: list[BaseException] = []

    def mend(_step: str, error: BaseException, *_: object) -> Choice:
        asked.append(error)
        built.write(texts[len(asked) - 1])
        return "retry"

    built.box.answer("true", 1)
    make(built, built.run(on_failure="ask", ask=mend))
    assert [isinstance(error, ImagefileError) for error in asked] == [False, True]
    assert built.driver.verbs("launch") == ["launch build from source"]


@pytest.mark.parametrize("choice", ["keep", "destroy"])
def test_the_machine_of_a_failed_task_is_kept_or_destroyed_as_the_user_says(built: Project, choice: str) -> None:
    ask, _ = answering(choice)
    built.box.answer("true", 1)
    run = built.run(on_failure="ask", ask=ask)
    with pytest.raises(TaskError):
        make(built, run)
    assert len(built.driver.there) == (choice == "keep")
    assert [entry.op for entry in run.folder.replay().live()] == (["held"] if choice == "keep" else [])


def test_what_a_task_changes_in_a_list_of_the_variables_reaches_the_next_task_and_no_post_step(built: Project) -> None:
    built.write("""
seen = []

@bakery.variables
class Vars:
    packages: list[str] = bakery.var(default=["nginx"])

@bakery.task
def adds(m, v):
    v.packages.append("curl")

@bakery.task
def looks(m, v):
    seen.append(list(v.packages))

@bakery.post
def tells(artifact, v):
    seen.append(list(v.packages))

@bakery.image(builtin_tests=False, hygiene=False)
def web(): ...
""")
    run = built.run()
    make(built, run)
    assert run.jobs.recipe.module.seen == [["nginx", "curl"], ["nginx"]]


def test_a_failed_post_step_leaves_the_image_kept(built: Project) -> None:
    built.write(TASKS.replace("@bakery.image", "@bakery.post\ndef tell(a):\n    raise OSError('no')\n\n@bakery.image"))
    with pytest.raises(PostError) as raised:
        make(built)
    assert raised.value.artifact is not None
    assert raised.value.hint == f"the image is kept: {raised.value.artifact.id}"
    assert list(built.driver.there) == [raised.value.artifact.id]


# ---- machines that overlap -----------------------------------------------------------------------------------------


def test_a_machine_is_destroyed_while_the_next_one_starts_where_they_may_overlap(built: Project) -> None:
    built.driver.may_overlap = True
    run = built.run()
    with Scope(run, run.jobs["web@here"]) as scope:
        with scope.machine(scope.build.boot):
            pass
        assert built.driver.verbs("destroy") == []
        with scope.machine(scope.build.boot, role="smoke"):
            pass
    assert built.driver.verbs("launch", "destroy").count("destroy machine") == 2
    assert left_in(run.folder) == []


def test_where_there_is_no_room_the_machine_before_goes_first(built: Project) -> None:
    built.driver.may_overlap = True
    run = built.run()
    with Scope(run, run.jobs["web@here"]) as scope:
        with scope.machine(scope.build.boot):
            pass
        built.driver.raises["launch"] = [DriverError("no room")]
        with scope.machine(scope.build.boot, role="smoke"):
            assert built.driver.verbs("destroy") == ["destroy machine"]
    assert "no room; once more, when the machine before is gone" in built.notices


def test_what_goes_wrong_while_one_is_destroyed_beside_the_build_is_raised_at_its_end(built: Project) -> None:
    built.driver.may_overlap = True
    run = built.run()
    built.driver.raises["destroy"] = [DriverError("busy")] * 9
    with pytest.raises(CleanupError), Scope(run, run.jobs["web@here"]) as scope, scope.machine(scope.build.boot):
        pass
    assert left_in(run.folder) == ["machine"]


def test_an_error_of_the_build_is_not_hidden_by_one_of_its_clean_up(built: Project) -> None:
    run = built.run()
    built.driver.raises["destroy"] = [DriverError("busy")] * 9
    with (
        pytest.raises(RuntimeError, match="mine"),
        Scope(run, run.jobs["web@here"]) as scope,
        scope.machine(scope.build.boot),
    ):
        raise RuntimeError("mine")
    assert left_in(run.folder) == ["machine"]


def test_what_a_test_machine_needs_is_made_while_the_image_is_captured(built: Project) -> None:
    from bakery.build.keeping import capture

    built.driver.may_overlap = True
    run = built.run(test=True)
    with Scope(run, run.jobs["web@here"]) as scope:
        with scope.machine(scope.build.boot) as machine:
            image = capture(scope, machine)
        with scope.machine(image, role="smoke"):
            pass
    assert built.driver.verbs("prepare") == ["prepare smoke"]
    assert len(list((run.folder.path / "machines").iterdir())) == 3  # build, the claims of test and image; no fourth
