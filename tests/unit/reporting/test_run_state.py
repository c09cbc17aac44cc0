"""Where a run is, as far as its events told."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import events as e
from bakery.reporting.run_state import KEPT_LINES, BuildState, RunState

from .story import BAD, GOOD, story


def after(*told: e.Event) -> RunState:
    state = RunState()
    for event in told:
        state.read(event)
    return state


def build(*told: e.Event) -> BuildState:
    """The state of the one build that these events are of."""
    (track,) = after(*told).tracks.values()
    return track


def begun(*steps: str, tests: int = 0) -> e.BuildStarted:
    return e.BuildStarted(build="b", image="web", driver="qemu", steps=steps, tests=tests, time=10.0)


def step(name: str, outcome: e.Outcome = "ok", seconds: float = 1.0) -> tuple[e.Event, e.Event]:
    return (
        e.StepStarted(build="b", step=name, index=0),
        e.StepEnded(build="b", step=name, index=0, seconds=seconds, outcome=outcome),
    )


# ---- the run --------------------------------------------------------------------------------------------------------


def test_a_run_knows_its_id_folder_and_begin() -> None:
    state = after(e.Notice(message="early", time=1.0), e.RunStarted(run="r-1", folder="/runs/r-1", time=5.0))
    assert (state.run, state.folder, state.began) == ("r-1", "/runs/r-1", 5.0)


def test_without_its_first_event_a_run_begins_with_the_earliest_one() -> None:
    assert after(e.Notice(message="x", time=7.0), e.Notice(message="y", time=9.0)).began == 7.0


def test_what_concerns_the_whole_run_belongs_to_no_build() -> None:
    failed = e.Failed(error="CleanupError", what="left behind")
    ended = e.RunEnded(seconds=3, exit_code=10)
    state = after(failed, e.Notice(message="m"), ended)
    assert (state.failures, state.tracks, state.ended) == ([failed], {}, ended)
    assert [notice.message for notice in state.notices] == ["m"]


def test_all_failures_are_the_runs_and_then_the_builds() -> None:
    state = after(*story())
    assert [(failed.error, failed.build) for failed in state.all_failures()] == [
        ("CleanupError", ""),
        ("CommandFailed", BAD),
    ]


def test_a_notice_of_a_build_makes_no_build() -> None:
    assert after(e.Notice(build="b", message="x")).tracks == {}


# ---- one build ------------------------------------------------------------------------------------------------------


def test_a_build_knows_what_its_begin_said() -> None:
    track = build(begun("base", "nginx", tests=3))
    assert (track.name, track.image, track.driver, track.steps) == ("b", "web", "qemu", ("base", "nginx"))
    assert (track.tests_planned, track.began, track.outcome) == (3, 10.0, "")


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ([], ""),
        ([e.Failed(build="b", error="TaskError", what="w")], "failed"),
        ([e.BuildEnded(build="b", outcome="ok", seconds=1)], "ok"),
        (
            [e.Failed(build="b", error="x", what="w"), e.BuildEnded(build="b", outcome="cancelled", seconds=1)],
            "cancelled",
        ),
    ],
)
def test_a_builds_outcome_is_what_its_end_says_or_that_it_failed(told: list[e.Event], outcome: str) -> None:
    assert build(begun(), *told).outcome == outcome


@pytest.mark.parametrize(("name", "place"), [("base", "1/3"), ("nginx", "2/3"), ("last", "3/3"), ("publish", "")])
def test_a_step_has_its_place_among_the_tasks(name: str, place: str) -> None:
    assert build(begun("base", "nginx", "last")).place(name) == place


def test_the_innermost_thing_that_runs_is_the_current_one() -> None:
    phase = e.PhaseStarted(build="b", phase="provision")
    started, ended = step("base")
    inside = build(begun("base"), phase, started).current
    assert inside is not None
    assert (inside.name, inside.kind) == ("base", "step")
    outside = build(begun("base"), phase, started, ended).current
    assert outside is not None
    assert (outside.name, outside.kind) == ("provision", "phase")
    assert build(begun("base"), *step("base")).current is None


def test_a_step_that_never_began_is_there_with_its_end() -> None:
    ended = e.StepEnded(build="b", step="base", index=0, seconds=2, outcome="cached", reason="same", time=30.0)
    (bar,) = build(begun("base"), ended).bars
    assert (bar.name, bar.began, bar.seconds, bar.outcome, bar.reason, bar.open) == (
        "base", 28.0, 2, "cached", "same", False,
    )  # fmt: skip


def test_each_attempt_of_a_step_is_a_bar_of_its_own() -> None:
    first, second = (e.StepStarted(build="b", step="base", index=0, attempt=n, location="i.py:3") for n in (1, 2))
    failed = e.StepEnded(build="b", step="base", index=0, seconds=1, outcome="failed")
    ok = e.StepEnded(build="b", step="base", index=0, seconds=2)
    bars = build(begun("base"), first, failed, second, ok).bars
    assert [(bar.attempt, bar.outcome, bar.seconds, bar.location) for bar in bars] == [
        (1, "failed", 1, "i.py:3"),
        (2, "ok", 2, "i.py:3"),
    ]


def test_a_phase_and_a_step_of_one_name_are_told_apart() -> None:
    started, ended = step("smoke", seconds=1)
    told = [e.PhaseStarted(build="b", phase="smoke"), started, ended]
    phase, task = build(begun("smoke"), *told).bars
    assert (phase.kind, phase.open) == ("phase", True)
    assert (task.kind, task.seconds) == ("step", 1)


def test_output_belongs_to_what_runs_and_only_the_last_lines_are_kept() -> None:
    lines = [f"line {number}" for number in range(KEPT_LINES + 5)]
    told = [e.StepStarted(build="b", step="base", index=0), e.Output(build="b", text="\n".join(lines))]
    (bar,) = build(begun("base"), *told).bars
    assert list(bar.lines) == lines[5:]


def test_output_while_nothing_runs_is_nobodys() -> None:
    assert build(begun(), e.Output(build="b", text="stray")).bars == []


def test_the_last_lines_are_those_of_what_failed() -> None:
    good, bad = step("base"), step("nginx", "failed")
    told = [
        good[0], e.Output(build="b", text="all is well"), good[1],
        bad[0], e.Output(build="b", text="\n".join(f"E: {n}" for n in range(30))), bad[1],
        e.PhaseStarted(build="b", phase="destroy"), e.Output(build="b", text="gone"),
    ]  # fmt: skip
    track = build(begun("base", "nginx"), *told)
    assert track.last_lines() == [f"E: {n}" for n in range(10, 30)]
    assert track.last_lines(2) == ["E: 28", "E: 29"]
    assert build(begun("base"), *good).last_lines() == []


def test_what_is_waited_for_is_past_once_something_begins_or_ends() -> None:
    waits = [e.Waiting(build="b", what="SSH", seconds=4), e.Progress(build="b", what="copying", done=1)]
    during = build(begun(), *waits, e.Output(build="b", text="x"))
    assert (during.waiting, during.progress) == tuple(waits)
    past = build(begun(), *waits, e.PhaseStarted(build="b", phase="connect"))
    assert (past.waiting, past.progress) == (None, None)
    noise = build(begun(), *waits, e.ResourceChanged(build="b", op="made", resource="file"))
    assert (noise.waiting, noise.progress) == tuple(waits)


def test_seconds_are_summed_by_phase_with_all_tasks_as_one() -> None:
    told = [
        e.PhaseStarted(build="b", phase="launch"), e.PhaseEnded(build="b", phase="launch", seconds=3),
        e.PhaseStarted(build="b", phase="provision"), *step("base", seconds=2), *step("nginx", seconds=5),
        e.PhaseEnded(build="b", phase="provision", seconds=8),
        e.PhaseStarted(build="b", phase="launch"), e.PhaseEnded(build="b", phase="launch", seconds=4),
        *step("publish", seconds=1), e.PhaseStarted(build="b", phase="keep"),
    ]  # fmt: skip
    assert build(begun("base", "nginx"), *told).phases() == {"launch": 7, "provision": 7, "post": 1, "keep": 0}


# ---- images ---------------------------------------------------------------------------------------------------------


def test_an_image_that_was_up_to_date_is_known_from_the_builds_end() -> None:
    artifact = {"name": "web", "id": "/web.qcow2", "size": 5, "format": "qcow2", "sha256": "ab", "verdict": "untested"}
    kept = build(begun(), e.BuildEnded(build="b", outcome="cached", seconds=0, artifact=artifact, time=3.0, run="r"))
    assert kept.artifact == e.ArtifactKept(
        build="b", run="r", time=3.0, name="web", id="/web.qcow2", size=5, format="qcow2", sha256="ab",
        verdict="untested",
    )  # fmt: skip


def test_an_image_that_was_kept_now_is_not_replaced_by_the_builds_end() -> None:
    kept = e.ArtifactKept(build="b", name="web", id="/new.qcow2")
    end = e.BuildEnded(build="b", outcome="ok", seconds=1, artifact={"id": "/old.qcow2"})
    assert build(begun(), kept, end).artifact is kept


@pytest.mark.parametrize("artifact", [{}, {"id": ""}, {"id": None, "name": "web"}])
def test_a_build_that_failed_has_no_image(artifact: dict[str, str | None]) -> None:
    assert build(begun(), e.BuildEnded(build="b", outcome="failed", seconds=1, artifact=artifact)).artifact is None


# ---- whatever comes -------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.sampled_from(list(story())), max_size=15))
def test_any_order_of_events_is_understood(told: Iterable[e.Event]) -> None:
    state = after(*told)
    assert set(state.tracks) <= {GOOD, BAD}
    for track in state.tracks.values():
        assert all(seconds >= 0 for seconds in track.phases().values())
        assert track.current is None or track.current.open
