"""The story of a run, a line at a time: what each event is worth, and to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery import events as e
from bakery.reporting.lines import Line, Verbosity, describe_event
from bakery.reporting.run_state import RunState

from .story import story

MIB = 1 << 20


def told(event: e.Event, *before: e.Event, verbosity: Verbosity = "verbose", starts: bool = True) -> list[str]:
    """The lines of the last event, after a build `b` with the tasks base and nginx has begun."""
    board = RunState()
    for earlier in (e.BuildStarted(build="b", driver="qemu", steps=("base", "nginx"), tests=2), *before, event):
        board.read(earlier)
    return [str(line) for line in describe_event(event, board, verbosity, starts=starts)]


def passed(count: int, outcome: str = "passed") -> list[e.Event]:
    return [e.TestEnded(build="b", test=f"t{n}", outcome=outcome, seconds=0.1) for n in range(count)]  # type: ignore[arg-type]


def inspected(name: str, outcome: str) -> e.TestEnded:
    return e.TestEnded(build="b", test=name, outcome=outcome, seconds=0.1)  # type: ignore[arg-type]


EVENTS: list[tuple[e.Event, list[str]]] = [
    (e.RunStarted(run="r-1", folder="/runs/r-1"), ["run r-1, folder /runs/r-1"]),
    (e.RunStarted(run="r-1"), []),
    (e.BuildStarted(build="b", driver="qemu", steps=("a", "b"), tests=1), ["qemu: 2 tasks, 1 test"]),
    (e.BuildStarted(build="b", driver="ec2", steps=("a",), tests=0), ["ec2: 1 task, 0 tests"]),
    (e.PhaseStarted(build="b", phase="launch"), ["launch ..."]),
    (e.PhaseStarted(build="b", phase="provision"), []),
    (e.PhaseEnded(build="b", phase="launch", seconds=3.2), ["launch: ok (3.2 s)"]),
    (e.PhaseEnded(build="b", phase="launch", seconds=75, outcome="failed"), ["FAILED: launch (1:15)"]),
    (e.PhaseEnded(build="b", phase="launch", seconds=0, outcome="skipped"), ["launch: skipped (0.0 s)"]),
    (e.PhaseEnded(build="b", phase="provision", seconds=5), []),
    (e.PhaseEnded(build="b", phase="provision", seconds=5, outcome="failed"), ["FAILED: provision (5.0 s)"]),
    (e.PhaseEnded(build="b", phase="smoke", seconds=1), ["smoke: ok (1.0 s)"]),
    (e.StepStarted(build="b", step="nginx", index=1), ["task 2/2 nginx ..."]),
    (e.StepStarted(build="b", step="nginx", index=1, attempt=3), ["task 2/2 nginx, attempt 3 ..."]),
    (e.StepStarted(build="b", step="publish", index=0), ["post step publish ..."]),
    (e.StepEnded(build="b", step="base", index=0, seconds=2), ["task 1/2 base: ok (2.0 s)"]),
    (
        e.StepEnded(build="b", step="base", index=0, seconds=2, reason="a.conf changed"),
        ["task 1/2 base: ok (2.0 s), because a.conf changed"],
    ),
    (e.StepEnded(build="b", step="base", index=0, seconds=0.1, outcome="cached"), ["task 1/2 base: cached"]),
    (
        e.StepEnded(build="b", step="base", index=0, seconds=1, outcome="failed", reason="\x1b[1mno\x1b[0m\nmore"),
        ["FAILED: task 1/2 base, no (1.0 s)"],
    ),
    (
        e.StepEnded(build="b", step="base", index=0, seconds=1, outcome="skipped", reason="asked to"),
        ["task 1/2 base, asked to: skipped (1.0 s)"],
    ),
    (e.Output(build="b", text="one\ntwo\n"), ["| one", "| two"]),
    (e.Output(build="b", text="\x1b[2Kred\r"), ["| red"]),
    (e.Output(build="b", text=""), []),
    (e.Waiting(build="b", what="no banner", seconds=0.4), ["waiting: no banner"]),
    (e.Waiting(build="b", what="no banner", seconds=12), ["waiting: no banner, 12 s so far"]),
    (e.Progress(build="b", what="copying", done=MIB, total=4 * MIB), ["copying 25 % of 4.0 MiB"]),
    (e.Progress(build="b", what="copying", done=MIB), ["copying 1.0 MiB"]),
    (e.ResourceChanged(build="b", op="made", resource="qemu process 4711"), ["journal: made qemu process 4711"]),
    (e.Notice(message="cache is full"), ["cache is full"]),
    (e.Notice(level="warning", message="no KVM", hint="usermod"), ["warning: no KVM (usermod)"]),
    (e.TestEnded(build="b", test="answers", outcome="passed", seconds=0.1), []),
    (e.TestEnded(build="b", test="answers", outcome="skipped", seconds=0.1), []),
    (
        e.TestEnded(
            build="b", test="answers", outcome="failed", seconds=0.2, location="i.py:40", text="assert 0\nE  no"
        ),
        ["FAILED: test answers at i.py:40 (0.2 s)", "| assert 0", "| E  no"],
    ),
    (e.TestEnded(build="b", test="answers", outcome="error", seconds=0.2), ["FAILED: test answers (0.2 s)"]),
    (
        e.ArtifactKept(build="b", name="web", id="/web.qcow2", size=3 * MIB, verdict="passed"),
        ["web is kept: /web.qcow2, 3.0 MiB"],
    ),
    (
        e.ArtifactKept(build="b", name="web", id="ami-1", verdict="untested"),
        ["web is kept: ami-1, not tested"],
    ),
    (e.ArtifactKept(build="b", name="web", id="ami-1", verdict="failed"), ["web is kept: ami-1, tests failed"]),
    (e.PackagesListed(build="b", count=9), []),
    (e.PackagesListed(build="b", count=9, before="web"), ["packages since web: the same"]),
    (
        e.PackagesListed(build="b", count=9, before="web", added=("a 1", "b 2"), removed=("c 3",)),
        ["packages since web: 2 added, 1 removed"],
    ),
    (e.MachineStarted(build="b", role="build", details=("accelerator: tcg",)), []),
    (e.BootTimed(build="b", stages=(("kernel", 1.0),)), []),
    (e.BuildEnded(build="b", outcome="ok", seconds=9), []),
    (e.BuildEnded(build="b", outcome="failed", seconds=9, reason="said already"), []),
    (e.BuildEnded(build="b", outcome="cancelled", seconds=9, reason="Ctrl-C"), ["build: Ctrl-C: cancelled"]),
    (e.BuildEnded(build="b", outcome="skipped", seconds=0), ["build: skipped"]),
    (e.RunEnded(seconds=9, exit_code=0), []),
]


@pytest.mark.parametrize(("event", "lines"), EVENTS, ids=lambda value: getattr(value, "type", None))
def test_each_event_is_worth_its_lines(event: e.Event, lines: list[str]) -> None:
    assert told(event) == lines


ONLY_WITH_STARTS = ("build-started", "phase-started", "step-started", "waiting", "progress")
ONLY_VERBOSE = ("run-started", "output", "progress", "resource-changed")


@pytest.mark.parametrize(("event", "lines"), EVENTS, ids=lambda value: getattr(value, "type", None))
def test_where_live_lines_show_what_begins_only_ends_are_told(event: e.Event, lines: list[str]) -> None:
    assert told(event, starts=False) == ([] if event.type in ONLY_WITH_STARTS else lines)


@pytest.mark.parametrize(("event", "lines"), EVENTS, ids=lambda value: getattr(value, "type", None))
def test_what_commands_write_is_told_on_request_only(event: e.Event, lines: list[str]) -> None:
    short_wait = isinstance(event, e.Waiting) and event.seconds < 5
    assert told(event, verbosity="normal") == ([] if event.type in ONLY_VERBOSE or short_wait else lines)


@pytest.mark.parametrize(("event", "lines"), EVENTS, ids=lambda value: getattr(value, "type", None))
def test_quiet_tells_of_failures_and_warnings_only(event: e.Event, lines: list[str]) -> None:
    bad = bool(lines) and lines[0].startswith(("FAILED", "warning"))
    assert told(event, verbosity="quiet") == (lines if bad else [])


@pytest.mark.parametrize(
    ("tests", "shown"),
    [
        (passed(2), "smoke, 2 of 2 tests passed: ok (3.0 s)"),
        ([*passed(2), *passed(1, "failed")], "smoke, 2 of 3 tests passed: ok (3.0 s)"),
        ([*passed(1), *passed(2, "skipped")], "smoke, 1 of 1 tests passed, 2 skipped: ok (3.0 s)"),
        ([*passed(1), *passed(1, "error")], "smoke, 1 of 2 tests passed: ok (3.0 s)"),
        ([*passed(2), inspected("hygiene", "passed")], "smoke, 2 of 2 tests passed: ok (3.0 s)"),
        ([*passed(2), inspected("hygiene[private-key /k]", "failed")], "smoke, 2 of 2 tests passed: ok (3.0 s)"),
        ([inspected("hygiene", "passed")], "smoke: ok (3.0 s)"),
    ],
)
def test_the_end_of_the_smoke_tests_counts_them(tests: list[e.Event], shown: str) -> None:
    assert told(e.PhaseEnded(build="b", phase="smoke", seconds=3), *tests) == [shown]


@given(st.sampled_from(list(story())), st.sampled_from(["quiet", "normal", "verbose"]), st.booleans())
def test_a_line_is_one_line(event: e.Event, verbosity: Verbosity, starts: bool) -> None:
    assert all("\n" not in line for line in told(event, verbosity=verbosity, starts=starts))


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (Line("info", "a note", "b"), "a note"),
        (Line("kept", "web is kept", note="at last"), "web is kept, at last"),
        (Line("cancelled", "build", seconds=61), "build: cancelled (1:01)"),
        (Line("detail", "E  assert"), "| E  assert"),
    ],
)
def test_a_line_as_text(line: Line, shown: str) -> None:
    assert str(line) == shown
