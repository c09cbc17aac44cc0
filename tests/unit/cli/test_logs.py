"""`bake logs`: what a run said, read from what it wrote; also while it goes on writing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery import events as e
from bakery.cli.commands import logs
from bakery.reporting.jsonl import line
from bakery.state.project import RunFolder

from .conftest import Project
from .test_report import BEGAN, ENDED, EVENTS


def file_of(project: Project, run: str) -> Path:
    return project.state.run(run).path / "events.jsonl"


def test_the_last_run_is_shown_with_what_its_commands_wrote(project: Project) -> None:
    project.run([e.RunStarted(time=BEGAN)])
    project.run([*EVENTS, ENDED])
    done = project.bake("logs")
    assert (done.code, done.err) == (0, "")
    assert "Setting up nginx" in done.out
    assert "task 1/1 hello" in done.out


def test_quietly_only_failures_are_shown(project: Project) -> None:
    project.run(EVENTS[:4])
    assert project.bake("logs", "--quiet").out == ""
    project.run([*EVENTS, ENDED])
    assert "task hello: no" in project.bake("logs", "--quiet").out


def test_a_run_is_found_by_a_part_of_its_id(project: Project) -> None:
    first = project.run([*EVENTS, ENDED])
    project.run([e.RunStarted(time=BEGAN)])
    assert "Setting up nginx" in project.bake("logs", first[-4:]).out


def test_for_programs_the_events_come_as_they_were_written(project: Project) -> None:
    run = project.run([*EVENTS, ENDED])
    done = project.bake("logs", "--format", "json")
    assert done.out == file_of(project, run).read_text()
    assert json.loads(done.out.splitlines()[0])["type"] == "run-started"


def test_a_line_that_is_damaged_or_not_whole_yet_is_left_out(project: Project) -> None:
    run = project.run(EVENTS)
    file = file_of(project, run)
    text = file.read_text()
    file.write_text("damaged\n" + text + line(ENDED)[:20])
    assert "Setting up nginx" in project.bake("logs").out
    assert project.bake("logs", "--format", "json").out == "damaged\n" + text


def test_where_there_is_nothing_to_show_that_is_said(project: Project) -> None:
    done = project.bake("logs")
    assert (done.code, done.out) == (2, "")
    assert "there is no run yet" in done.err
    run = project.run()
    done = project.bake("logs", run)
    assert done.code == 2
    assert f"the run {run} has no events" in done.err


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether somebody works on the run, asked time after time."""
    answers: list[bool] = []
    monkeypatch.setattr(RunFolder, "alive", property(lambda _: answers.pop(0)))
    yield answers
    assert answers == []


def test_a_run_that_goes_on_is_followed_to_its_end_in_whole_lines(
    project: Project, alive: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = project.run(EVENTS[:2])
    whole = line(EVENTS[2])
    left = [whole[:10], whole[10:] + line(ENDED)]
    alive += [True, True, False]

    def sleep(seconds: float) -> None:
        assert seconds == logs.PAUSE
        with file_of(project, run).open("a") as file:
            file.write(left.pop(0))

    monkeypatch.setattr("time.sleep", sleep)
    lines = project.bake("logs", "-f", "--format", "json").out.splitlines()
    assert [json.loads(text)["type"] for text in lines] == ["run-started", "build-started", "step-started", "run-ended"]


def test_what_a_run_writes_just_before_its_end_is_read(
    project: Project, alive: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = project.run(EVENTS[:1])
    alive += [True, False]

    def ends(_: float) -> None:
        with file_of(project, run).open("a") as file:
            file.write(line(ENDED))

    monkeypatch.setattr("time.sleep", ends)
    assert "run-ended" in project.bake("logs", "--follow", "--format", "json").out


def test_a_run_that_has_ended_is_followed_no_further(project: Project, alive: list[bool]) -> None:
    project.run([*EVENTS, ENDED])
    alive.append(False)
    assert project.bake("logs", "-f").code == 0
