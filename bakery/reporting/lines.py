"""The run as a story, a line at a time: shared by the terminal, plain logs and GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bakery import events as e
from bakery.reporting.formatting import SHORT, because, done, duration, plain
from bakery.reporting.run_state import BuildState, RunState, Span
from bakery.reporting.summary import VERDICTS, counts
from bakery.util.units import counted, format_size

Kind: TypeAlias = Literal[
    "start", "ok", "failed", "cached", "skipped", "cancelled", "info", "warning", "output", "detail", "kept"
]
Verbosity: TypeAlias = Literal["quiet", "normal", "verbose"]

SLOW = 5.0
"""Seconds of waiting from which a log mentions it."""


@dataclass(frozen=True)
class Line:
    """One line of the story. `text` is clean; `seconds` is how long it took, where something ended."""

    kind: Kind
    text: str
    build: str = ""
    seconds: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """Return the line as plain text, without time and build."""
        word = {"failed": "FAILED: ", "warning": "warning: ", "output": "| ", "detail": "| "}.get(self.kind, "")
        mark = {"ok": ": ok", "cached": ": cached", "skipped": ": skipped", "cancelled": ": cancelled"}.get(
            self.kind, ""
        )
        took = f" ({duration(self.seconds)})" if self.seconds is not None else ""
        note = f", {self.note}" if self.note else ""
        return f"{word}{self.text}{mark}{took}{note}"


def describe_event(event: e.Event, board: RunState, verbosity: Verbosity, *, starts: bool) -> Iterator[Line]:
    """Yield the lines that an event is worth.

    Args:
        event: just read by the board as well.
        board: the state after it.
        verbosity: quiet tells only of failures and warnings, verbose also what commands write.
        starts: tell what begins too, not only what ended; for logs without live lines.
    """
    for line in _lines(event, board, verbose=verbosity == "verbose", starts=starts):
        if verbosity != "quiet" or line.kind in ("failed", "detail", "warning"):
            yield line


def is_trifle(event: e.Event, verbosity: Verbosity) -> bool:
    """Say whether an event is the end of a phase that went well and took less than a second: nobody waits for that."""
    if verbosity == "verbose" or not isinstance(event, e.PhaseEnded) or event.phase == "smoke":
        return False  # of the smoke tests the number is what counts
    return event.outcome == "ok" and event.seconds < SHORT


def _lines(event: e.Event, board: RunState, *, verbose: bool, starts: bool) -> Iterator[Line]:
    track = board.tracks.get(event.build) or BuildState(event.build, event.time)
    match event:
        case e.RunStarted() if verbose and event.folder:
            yield Line("info", f"run {event.run}, folder {event.folder}")
        case e.Notice():
            hint = f" ({event.hint})" if event.hint else ""
            yield Line("warning" if event.level == "warning" else "info", plain(event.message + hint), event.build)
        case e.Output() if verbose or event.stream == "pytest":
            for text in plain(event.text).splitlines():
                yield Line("output", text, event.build)
        case e.Waiting() if starts and (verbose or event.seconds >= SLOW):
            waited = f", {duration(event.seconds)} so far" if event.seconds >= 1 else ""
            yield Line("info", f"waiting: {plain(event.what)}{waited}", event.build)
        case e.Progress() if verbose and starts:
            yield Line("info", plain(done(event.what, event.done, event.total, event.unit)), event.build)
        case e.ResourceChanged() if verbose:
            yield Line("info", plain(f"journal: {event.op} {event.resource}"), event.build)
        case e.ArtifactKept():
            amount = f", {format_size(event.size)}" if event.size else ""
            doubt = f", {VERDICTS[event.verdict]}" if event.verdict in VERDICTS else ""
            yield Line("kept", plain(f"{event.name} is kept: {event.id}{amount}{doubt}"), event.build)
        case e.BuildEnded() if event.outcome in ("cancelled", "skipped"):
            reason = f": {event.reason}" if event.reason else ""
            yield Line(event.outcome, plain(f"build{reason}"), event.build)
        case _:
            yield from _work(event, track, starts=starts)


def _work(event: e.Event, track: BuildState, *, starts: bool) -> Iterator[Line]:
    match event:
        case e.BuildStarted() if starts:
            amount = f"{counted(len(event.steps), 'task')}, {counted(event.tests, 'test')}"
            yield Line("start", plain(f"{event.driver}: {amount}"), event.build)
        case e.PhaseStarted() if starts and event.phase != "provision":
            yield Line("start", f"{event.phase} ...", event.build)
        case e.PhaseEnded() if event.phase != "provision" or event.outcome != "ok":
            yield Line(event.outcome, _phase(event, track), event.build, event.seconds)
        case e.StepStarted() if starts:
            yield Line("start", f"{_step(track, event.step, event.attempt)} ...", event.build)
        case e.StepEnded():
            yield _ended(event, track)
        case e.PackagesListed() if event.before:
            yield Line("info", plain(f"packages since {event.before}: {_changes(event)}"), event.build)
        case e.TestEnded() if event.outcome in ("failed", "error"):
            text = f"test {event.test}" + (f" at {event.location}" if event.location else "")
            yield Line("failed", plain(text), event.build, event.seconds)
            yield from (Line("detail", part, event.build) for part in plain(event.text).splitlines())
        case _:
            return


def _changes(event: e.PackagesListed) -> str:
    told = ((event.added, "added"), (event.changed, "changed"), (event.removed, "removed"))
    return ", ".join(f"{len(names)} {what}" for names, what in told if names) or "the same"


def _ended(event: e.StepEnded, track: BuildState) -> Line:
    """Return a step's end. The reason says why it failed, or, for one that went well, why it had to run at all."""
    reason = plain(event.reason).strip().partition("\n")[0]
    text = _step(track, event.step, 1)
    if event.outcome == "ok":
        return Line("ok", text, event.build, event.seconds, because(reason))
    seconds = None if event.outcome == "cached" else event.seconds
    return Line(event.outcome, f"{text}, {reason}" if reason else text, event.build, seconds)


def _phase(event: e.PhaseEnded, track: BuildState) -> str:
    if event.phase == "smoke" and track.smoke_tests:
        return f"smoke, {counts(track)}"
    return event.phase


def name_of_span(track: BuildState, span: Span) -> str:
    """Return what a phase, a task or a post step is called in the story."""
    return _step(track, span.name, span.attempt) if span.kind == "step" else span.name


def _step(track: BuildState, step: str, attempt: int) -> str:
    place = track.place(step)
    again = f", attempt {attempt}" if attempt > 1 else ""
    return f"task {place} {step}{again}" if place else f"post step {step}{again}"
