"""Stops that were asked for: before a task, after the last, with somebody to ask and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bakery.build.bake import bake
from bakery.build.stopped import Stopped

from .memory import Project, left_in, project

__all__ = ["project"]

IMAGE = """
@bakery.task
def first(m): ...

@bakery.task
def second(m): ...

@bakery.image(builtin_tests=False)
def web(): ...
"""


@dataclass
class User:
    """Somebody who answers at each stop."""

    answers: list[str]
    heard: list[str] = field(default_factory=list[str])

    def pause(self, where: str, shell: Callable[[], None], check: Callable[[], None]) -> str:
        """Answer."""
        del shell
        check()
        self.heard.append(where)
        return self.answers.pop(0)


@pytest.fixture
def made(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    project.write(IMAGE)
    return project


def test_step_by_step_it_stops_before_each_task_and_after_the_last(made: Project) -> None:
    user = User(["go", "go", "go"])
    run = made.run(ask=user, step=True)
    assert bake(run.jobs["web@here"], run).name == "web"
    assert user.heard == [
        "web@here: before task first",
        "web@here: before task second",
        "web@here: after the last task",
    ]


def test_it_stops_before_the_task_that_was_named(made: Project) -> None:
    user = User(["go"])
    run = made.run(ask=user, stop_at=frozenset({"second"}))
    bake(run.jobs["web@here"], run)
    assert user.heard == ["web@here: before task second"]


@pytest.mark.parametrize(("answer", "left"), [("keep", ["machine"]), ("destroy", [])])
def test_who_does_not_go_on_says_what_becomes_of_the_machine(made: Project, answer: str, left: list[str]) -> None:
    run = made.run(ask=User([answer]), stop_at=frozenset({"second"}))
    with pytest.raises(Stopped, match="stopped before task second"):
        bake(run.jobs["web@here"], run)
    assert made.steps == [("first", "ok")]
    assert left_in(run.folder) == left
    assert any("the machine is kept" in notice for notice in made.notices) == bool(left)
    assert not (run.folder.path / "failures").exists()


def test_where_nobody_can_be_asked_the_machine_stays_and_the_build_is_cancelled(made: Project) -> None:
    outcome = made.build(stop_at=frozenset({"first"}))
    assert outcome.exit_code == 130
    assert left_in(outcome.run) == ["machine"]
    assert made.steps == []
