"""`bake report`: how runs went, from what they wrote down."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bakery import events as e

from .conftest import Project

BEGAN = 1_763_821_234.0
EVENTS: list[e.Event] = [
    e.RunStarted(time=BEGAN, run="r", builds=("web@box",), folder="/old/place"),
    e.BuildStarted(time=BEGAN, build="web@box", image="web", driver="folder", steps=("hello",), tests=1),
    e.StepStarted(time=BEGAN + 1, build="web@box", step="hello", index=0, location="imagefile.py:20"),
    e.Output(time=BEGAN + 2, build="web@box", text="Setting up nginx", step="hello"),
    e.StepEnded(time=BEGAN + 3, build="web@box", step="hello", index=0, seconds=2, outcome="failed", reason="no"),
    e.Failed(time=BEGAN + 3, build="web@box", error="TaskError", what="task hello: no", exit_code=7),
    e.BuildEnded(time=BEGAN + 4, build="web@box", outcome="failed", seconds=4),
]
ENDED = e.RunEnded(time=BEGAN + 5, seconds=5, exit_code=7)


# ---- one run --------------------------------------------------------------------------------------------------------


def test_the_last_run_is_told_from_its_events(project: Project) -> None:
    project.run([e.RunStarted(time=BEGAN)])
    project.run([*EVENTS, ENDED])
    done = project.bake("report")
    assert done.code == 0
    assert "[web@box] FAILED: task 1/1 hello, no (2.0 s)" in done.out
    assert "error: web@box: task hello: no" in done.out
    assert "output: Setting up nginx" in done.out
    assert done.out.splitlines()[-2].split()[:2] == ["web@box", "failed"]
    assert done.out.splitlines()[-1].startswith("report: /old/place")


def test_a_run_is_found_by_any_part_of_its_id(project: Project) -> None:
    first = project.run([*EVENTS, ENDED])
    project.run([e.RunStarted(time=BEGAN)])
    for name in (first, first[-4:], first[9:]):
        assert "task hello: no" in project.bake("report", name).out


def test_a_part_that_several_runs_have_is_refused_with_their_ids(project: Project) -> None:
    runs = [project.run(EVENTS), project.run(EVENTS)]
    done = project.bake("report", runs[0][:8])
    assert (done.code, done.out) == (2, "")
    assert f"several runs match '{runs[0][:8]}'" in done.err
    assert all(run in done.err for run in runs)


def test_a_run_that_was_killed_is_said_to_be_that(project: Project) -> None:
    project.run(EVENTS)
    assert "the run was killed; `bake gc` destroys what it left" in project.bake("report").out
    project.run([*EVENTS, ENDED])
    assert "killed" not in project.bake("report").out


def test_verbose_shows_what_commands_wrote_and_quiet_failures_alone(project: Project) -> None:
    project.run([*EVENTS, ENDED])
    assert "| Setting up nginx" in project.bake("report", "--verbose").out
    quiet = project.bake("report", "--quiet").out
    assert "FAILED: task 1/1 hello" in quiet
    assert "1 task" not in quiet


def test_the_files_that_explain_a_run_are_named_from_here(project: Project) -> None:
    run = project.run([*EVENTS, ENDED])
    folder = project.folder / ".bakery/runs" / run
    for name in ("report.html", "machines/1/console.log", "machines/1/disk.raw", "failures/web/verdict.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("the machine died\n")
    text = project.bake("report").out
    assert "verdict on web: the machine died\n" in text
    assert [line.strip() for line in text.split("files:\n")[1].splitlines()] == [
        f".bakery/runs/{run}/failures/web/verdict.txt",
        f".bakery/runs/{run}/machines/1/console.log",
        f".bakery/runs/{run}/report.html",
    ]


def test_the_events_themselves_are_printed_where_data_is_asked_for(project: Project) -> None:
    project.run([*EVENTS, ENDED])
    done = project.bake("report", "--format", "json")
    objects = [json.loads(line) for line in done.out.splitlines()]
    assert [item["type"] for item in objects] == [event.type for event in [*EVENTS, ENDED]]


def test_a_page_and_a_junit_report_are_made_anew(project: Project) -> None:
    project.run([*EVENTS, ENDED])
    page = project.bake("report", "--as", "html").out
    assert page.startswith("<!")
    assert "task hello: no" in page
    (suite,) = ET.fromstring(project.bake("report", "--as", "junit").out)  # noqa: S314  our own text
    assert (suite.get("name"), suite.get("errors")) == ("web@box", "1")


def test_a_report_on_a_damaged_file_leaves_out_what_is_damaged(project: Project) -> None:
    run = project.run([*EVENTS, ENDED])
    path = project.folder / ".bakery/runs" / run / "events.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = "17"
    path.write_text("\n".join([*lines, '{"type":"run-en']))
    for words in ([], ["--as", "html"], ["--as", "junit"]):
        done = project.bake("report", *words)
        assert done.code == 0, done.err
        assert "hello" in done.out


def test_a_run_without_events_has_no_report(project: Project) -> None:
    run = project.run()
    done = project.bake("report")
    assert (done.code, done.out) == (2, "")
    assert f"the run {run} has no events" in done.err


@pytest.mark.parametrize("words", [[], ["nothing"]])
def test_where_nothing_was_built_there_is_no_report(project: Project, words: list[str]) -> None:
    done = project.bake("report", *words)
    assert (done.code, done.out) == (2, "")
    assert ("there is no run yet" in done.err) == (not words)


# ---- all runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "took", "state"),
    [
        ({"started": BEGAN, "ended": BEGAN + 75, "exit_code": 0}, "1:15", "ok"),
        ({"started": BEGAN, "ended": BEGAN + 3, "exit_code": 7}, "3.0 s", "exit code 7"),
        ({"started": BEGAN, "ended": BEGAN - 3, "exit_code": 0}, "0.0 s", "ok"),
        ({"started": BEGAN, "ended": BEGAN + 3, "exit_code": 130}, "3.0 s", "cancelled"),
        ({"started": BEGAN}, "", "killed"),
        ({"started": "yesterday", "exit_code": 0}, "", "ok"),
    ],
)
def test_a_run_in_the_list_has_its_date_time_and_state(
    project: Project, about: dict[str, Any], took: str, state: str
) -> None:
    run = project.run(builds=["web@box", "db@box"], **about)
    head, row = project.bake("report", "--list").out.splitlines()
    assert head.split() == ["RUN", "STARTED", "TOOK", "STATE", "BUILDS"]
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d" if isinstance(about["started"], float) else ""
    pattern = " *".join((re.escape(run), date, re.escape(took), re.escape(state), "web@box, db@box"))
    assert re.fullmatch(pattern, row), row


def test_runs_are_listed_the_newest_last_also_those_that_say_nothing(project: Project) -> None:
    runs = [project.run(), project.run(exit_code=0), project.run(EVENTS)]
    assert [row[0] for row in project.bake("report", "--list").rows[1:]] == runs


def test_a_run_whose_note_is_damaged_is_listed_all_the_same(project: Project) -> None:
    run = project.run(exit_code=0)
    Path(project.folder / ".bakery/runs" / run / "run.json").write_text('{"exit_code": ')
    assert project.bake("report", "--list").rows[1] == [run, "killed"]


def test_without_runs_the_list_has_its_head_alone(project: Project) -> None:
    done = project.bake("report", "--list")
    assert (done.code, len(done.out.splitlines())) == (0, 1)


def test_the_page_over_all_runs_is_written_and_leads_to_their_reports(project: Project) -> None:
    first = project.run([*EVENTS, ENDED], started=BEGAN, ended=BEGAN + 30, exit_code=7, builds=["web@box"])
    second = project.run(EVENTS, started=BEGAN)
    (project.folder / ".bakery/runs" / first / "report.html").touch()
    done = project.bake("report", "--all")
    path = Path(done.out.strip())
    assert (done.code, path) == (0, project.folder / ".bakery/runs.html")
    text = path.read_text()
    assert f'href="runs/{first}/report.html"' in text
    assert f'href="runs/{second}/report.html"' not in text
    assert text.index(second) < text.index(first)
    assert "exit code 7" in text
    assert "killed" in text
