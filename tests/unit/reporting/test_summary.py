"""What is said at the end: why something failed, where the time went, where the images are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery import events as e
from bakery.errors import near
from bakery.reporting.run_state import BuildState, RunState
from bakery.reporting.summary import (
    artifact,
    failure,
    failure_text,
    next_steps,
    outcome,
    summary,
    times,
    took,
    word,
)


def track(*told: e.Event) -> BuildState:
    board = RunState()
    for event in (e.BuildStarted(build="b", steps=("base",), time=10.0), *told):
        board.read(event)
    return board.tracks["b"]


def wrote(text: str) -> BuildState:
    """A build whose task wrote something and failed."""
    return track(
        e.StepStarted(build="b", step="base", index=0),
        e.Output(build="b", text=text),
        e.StepEnded(build="b", step="base", index=0, seconds=1, outcome="failed"),
    )


# ---- errors ---------------------------------------------------------------------------------------------------------

FULL = e.Failed(
    build="b",
    error="CommandFailed",
    what="task base: `apt-get` failed",
    why="E: no\nE: really",
    hint="run apt-get update",
    location="imagefile.py:21",
    folder="/runs/r/failures/b",
    exit_code=7,
)


def test_an_error_has_its_parts_in_the_order_in_which_one_asks() -> None:
    assert list(failure(FULL, wrote("Reading\nE: no"))) == [
        ("what", "task base: `apt-get` failed"),
        ("where", "imagefile.py:21"),
        ("why", "E: no\nE: really"),
        ("output", "Reading"),
        ("hint", "run apt-get update"),
        ("files", "/runs/r/failures/b"),
    ]


def test_an_error_that_says_little_is_short() -> None:
    assert list(failure(e.Failed(error="UsageError", what="no image"))) == [("what", "no image")]
    assert failure_text(e.Failed(error="UsageError", what="no image")) == "error: no image"


def test_what_the_cause_says_already_is_not_repeated_as_output() -> None:
    assert "output" not in dict(failure(FULL, wrote("E: no\nE: really")))


def test_an_error_as_text_keeps_its_margins() -> None:
    text = failure_text(e.Failed(build="b", error="x", what="one\ntwo", why="three\nfour", hint="five", location="f:1"))
    assert text.splitlines() == [
        "error: b: one",
        "  two",
        "  where:  f:1",
        "  why:    three",
        "          four",
        "  hint:   five",
    ]


def test_files_below_the_current_folder_are_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed = e.Failed(error="x", what="w", folder=str(tmp_path / ".bakery/runs/r"))
    assert dict(failure(failed))["files"] == ".bakery/runs/r"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_nobodys_words_can_steer_who_reads_an_error(what: str, why: str, hint: str) -> None:
    text = failure_text(e.Failed(error="x", what=what, why=why, hint=hint), wrote(what))
    assert not [char for char in text if char in "\x1b\r\x07\x08\x9b"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("HERE/web.qcow2", "web.qcow2"),
        ("HERE/a/b", "a/b"),
        ("/elsewhere/web.qcow2", "/elsewhere/web.qcow2"),
        ("ami-0123", "ami-0123"),
        ("web.qcow2", "web.qcow2"),
        ("", ""),
    ],
)
def test_a_path_is_as_short_as_it_can_be(
    path: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert near(path.replace("HERE", str(tmp_path))) == shown


# ---- builds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "named", "read"),
    [
        ([], "unfinished", "unfinished"),
        ([e.BuildEnded(build="b", outcome="ok", seconds=1)], "ok", "ok"),
        ([e.BuildEnded(build="b", outcome="cached", seconds=1)], "cached", "up to date"),
        ([e.BuildEnded(build="b", outcome="cancelled", seconds=1)], "cancelled", "cancelled"),
        ([FULL], "failed", "failed"),
    ],
)
def test_a_builds_end_in_a_word(told: list[e.Event], named: str, read: str) -> None:
    assert (outcome(track(*told)), word(track(*told))) == (named, read)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ({"launch": 3.04, "seal": 0.04, "capture": 75, "smoke": 0.05}, "launch 3.0 s, capture 1:15"),
        ({"launch": 3.04, "seal": 0.6, "capture": 75, "smoke": 0.7}, "launch 3.0 s, capture 1:15, others 1.3 s"),
        ({"launch": 0.9}, ""),
        ({"launch": 1.0}, "launch 1.0 s"),
        ({}, ""),
    ],
)
def test_phases_of_under_a_second_are_one(seconds: dict[str, float], shown: str) -> None:
    told = [e.PhaseEnded(build="b", phase=name, seconds=took) for name, took in seconds.items()]
    assert times(track(*told)) == shown


CANCELLED = e.Failed(build="b", error="Interrupted", what="interrupted by SIGINT", exit_code=130)


def test_a_build_that_was_told_to_stop_is_cancelled_also_while_it_ends() -> None:
    assert word(track(CANCELLED)) == "cancelled"
    assert failure_text(CANCELLED) == "cancelled: b: interrupted by SIGINT"


def ended(*told: e.Event, code: int = 0, command: str = "bake") -> RunState:
    """A run that is over."""
    board = RunState()
    for event in (
        e.RunStarted(folder="/p/.bakery/runs/r", command=command),
        *told,
        e.RunEnded(seconds=9, exit_code=code),
    ):
        board.read(event)
    return board


MADE = (
    e.ArtifactKept(build="b", name="web-1", id="/p/web-1.qcow2"),
    e.BuildEnded(build="b", outcome="ok", seconds=8),
)


def test_a_success_names_its_report_and_what_to_do_next() -> None:
    assert list(next_steps(ended(*MADE))) == [
        ("report", "/p/.bakery/runs/r/report.html"),
        ("next", "`bake ssh web-1` opens a shell on a machine of it"),
    ]


def test_an_image_that_nobody_tested_is_to_be_tested_next_by_a_name_that_is_its_own() -> None:
    kept = e.ArtifactKept(build="b", name="web-1", id="/p/web-1.qcow2", verdict="untested", call="web@laptop")
    _, (_, text) = next_steps(ended(kept, MADE[1]))
    assert text == "`bake test web@laptop` tests it, `bake ssh web@laptop` opens a shell on a machine of it"


@pytest.mark.parametrize("place", ["-C 'my images'", "-Cimages", "--directory=images -f web.py", "--file web.py"])
def test_what_to_do_next_is_done_in_the_same_place(place: str) -> None:
    _, (_, text) = next_steps(ended(*MADE, command=f"bake {place} build --no-test"))
    assert text.startswith(f"`bake {place} ssh web-1` ")


def test_a_failure_names_its_report_alone() -> None:
    failed = e.BuildEnded(build="c", outcome="failed", seconds=8)
    assert list(next_steps(ended(*MADE, failed, code=7))) == [("report", "/p/.bakery/runs/r/report.html")]


def test_nothing_to_do_has_nothing_to_read() -> None:
    assert list(next_steps(ended(e.BuildEnded(build="b", outcome="cached", seconds=0)))) == []


def test_a_build_that_goes_on_has_taken_the_time_until_now() -> None:
    board = RunState()
    board.now = lambda: 25.0
    assert took(board, track()) == 15.0
    assert took(board, track(e.BuildEnded(build="b", outcome="ok", seconds=4))) == 4


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (e.ArtifactKept(name="web", id="ami-1"), "ami-1"),
        (e.ArtifactKept(name="web", id="ami-1", size=0), "ami-1"),
        (e.ArtifactKept(name="web", id="/w", size=412 << 20, sha256="ab" * 32), "/w  412.0 MiB  sha256:abababababab"),
        (e.ArtifactKept(name="web", id="/w", verdict="passed"), "/w"),
        (e.ArtifactKept(name="web", id="/w", size=2048, verdict="untested"), "/w  2.0 KiB  NOT TESTED"),
        (e.ArtifactKept(name="web", id="/w", verdict="failed"), "/w  TESTS FAILED"),
    ],
)
def test_an_image_in_a_line(kept: e.ArtifactKept, shown: str) -> None:
    assert artifact(kept) == shown


def test_the_closing_table_has_a_line_a_build_and_one_for_its_image() -> None:
    board = RunState()
    for event in (
        e.BuildStarted(build="web@laptop"),
        e.BuildStarted(build="db"),
        e.PhaseEnded(build="db", phase="launch", seconds=2),
        e.ArtifactKept(build="db", name="db", id="ami-1", size=1024),
        e.BuildEnded(build="db", outcome="ok", seconds=65),
        e.BuildEnded(build="web@laptop", outcome="cached", seconds=0),
    ):
        board.read(event)
    assert list(summary(board)) == [
        "web@laptop  up to date    0.0 s",
        "db          ok             1:05  launch 2.0 s",
        "            ami-1  1.0 KiB",
    ]


def test_without_builds_there_is_no_table() -> None:
    assert list(summary(RunState())) == []
