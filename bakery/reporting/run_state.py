"""Where every build of a run is: what reporters that look back, or look at the whole, draw from."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from bakery import events as e
from bakery.errors import Interrupted

INSPECTION = "hygiene"
"""How the inspection's results are called: one when all is well, else one for each finding."""
TAIL = 20
KEPT_LINES = 2000
"""Lines of output that are remembered for each step; the last ones."""


@dataclass
class Span:
    """A phase, or a step in it: when it began, how long it took, how it ended."""

    name: str
    kind: Literal["phase", "step"]
    began: float
    location: str = ""
    seconds: float | None = None
    outcome: str = ""
    reason: str = ""
    attempt: int = 1
    lines: deque[str] = field(default_factory=partial(deque[str], maxlen=KEPT_LINES))

    @property
    def open(self) -> bool:
        """True while it runs."""
        return self.seconds is None

    def end(self, seconds: float, outcome: str, reason: str = "") -> None:
        """Note how it ended."""
        self.seconds, self.outcome, self.reason = seconds, outcome, reason


@dataclass
class BuildState:
    """One build, as far as its events told."""

    name: str
    began: float
    image: str = ""
    driver: str = ""
    steps: tuple[str, ...] = ()
    tests_planned: int = 0
    begun: e.BuildStarted | None = None
    machines: list[e.MachineStarted] = field(default_factory=list[e.MachineStarted])
    packages: e.PackagesListed | None = None
    boot: e.BootTimed | None = None
    bars: list[Span] = field(default_factory=list[Span])
    tests: list[e.TestEnded] = field(default_factory=list[e.TestEnded])
    waiting: e.Waiting | None = None
    progress: e.Progress | None = None
    failure: e.Failed | None = None
    artifact: e.ArtifactKept | None = None
    ended: e.BuildEnded | None = None

    @property
    def current(self) -> Span | None:
        """The innermost phase or step that runs now."""
        return next((bar for bar in reversed(self.bars) if bar.open), None)

    @property
    def outcome(self) -> str:
        """How the build ended; empty while it runs."""
        if self.ended or self.failure is None:
            return self.ended.outcome if self.ended else ""
        return "cancelled" if is_cancelled(self.failure) else "failed"

    @property
    def smoke_tests(self) -> list[e.TestEnded]:
        """The tests that ran on a machine, without what the inspection of the image's file said."""
        return [test for test in self.tests if not test.test.startswith(INSPECTION)]

    def of_outcome(self, *outcomes: str) -> list[e.TestEnded]:
        """Return the smoke tests that ended in one of these ways."""
        return [test for test in self.smoke_tests if test.outcome in outcomes]

    def place(self, step: str) -> str:
        """`2/5` for the second of five tasks; empty for a post step."""
        return f"{self.steps.index(step) + 1}/{len(self.steps)}" if step in self.steps else ""

    def phases(self) -> dict[str, float]:
        """Seconds a phase, in order; all tasks together are `provision`, all post steps `post`."""
        seconds: dict[str, float] = {}
        for bar in self.bars:
            name = bar.name if bar.kind == "phase" else "provision" if bar.name in self.steps else "post"
            if name in ("provision", "post") and bar.kind == "phase":
                continue  # its steps say it already
            seconds[name] = seconds.get(name, 0.0) + (bar.seconds or 0.0)
        return seconds

    def last_lines(self, count: int = TAIL) -> list[str]:
        """Return the end of what was written in the step or phase that failed."""
        failed = [bar for bar in self.bars if bar.outcome == "failed" and bar.lines]
        return list(failed[-1].lines)[-count:] if failed else []


Tracks: TypeAlias = dict[str, BuildState]


class RunState:
    """The state of a run: feed it every event."""

    def __init__(self) -> None:
        self.run = ""
        self.folder = ""
        self.began = 0.0
        self.tracks: Tracks = {}
        self.failures: list[e.Failed] = []
        self.notices: list[e.Notice] = []
        self.started: e.RunStarted | None = None
        self.ended: e.RunEnded | None = None
        self.now = time.time

    def read(self, event: e.Event) -> None:
        """Take one event."""
        self.began = self.began or event.time
        match event:
            case e.RunStarted():
                self.run, self.folder, self.began, self.started = event.run, event.folder, event.time, event
            case e.RunEnded():
                self.ended = event
            case e.Notice():
                self.notices.append(event)
            case e.Failed() if not event.build:
                self.failures.append(event)
            case _ if event.build:
                self._of_build(self.track(event), event)
            case _:
                pass

    def track(self, event: e.Event) -> BuildState:
        """Return the build that an event belongs to."""
        return self.tracks.setdefault(event.build, BuildState(event.build, event.time))

    def all_failures(self) -> list[e.Failed]:
        """Return what went wrong, of the run and of every build."""
        return [*self.failures, *(track.failure for track in self.tracks.values() if track.failure)]

    def _of_build(self, track: BuildState, event: e.Event) -> None:
        match event:
            case e.BuildStarted():
                track.began, track.image, track.driver = event.time, event.image, event.driver
                track.steps, track.tests_planned, track.begun = event.steps, event.tests, event
            case e.Waiting():
                track.waiting = event
            case e.Progress():
                track.progress = event
            case e.TestEnded():
                track.tests.append(event)
            case e.Failed():
                track.failure = event
            case e.ArtifactKept():
                track.artifact = event
            case e.BuildEnded():
                track.ended = event
                track.artifact = track.artifact or _artifact(event)
            case e.MachineStarted() | e.PackagesListed() | e.BootTimed():
                self._of_machine(track, event)
            case _:
                self._of_bar(track, event)

    def _of_machine(self, track: BuildState, event: e.MachineStarted | e.PackagesListed | e.BootTimed) -> None:
        match event:
            case e.MachineStarted():
                track.machines.append(event)
            case e.PackagesListed():
                track.packages = event
            case e.BootTimed():
                track.boot = event

    def _of_bar(self, track: BuildState, event: e.Event) -> None:
        match event:
            case e.PhaseStarted():
                track.bars.append(Span(event.phase, "phase", event.time))
            case e.StepStarted():
                track.bars.append(Span(event.step, "step", event.time, event.location, attempt=event.attempt))
            case e.PhaseEnded():
                _end(track, event.phase, "phase", event).end(event.seconds, event.outcome)
            case e.StepEnded():
                _end(track, event.step, "step", event).end(event.seconds, event.outcome, event.reason)
            case e.Output():
                if track.current:
                    track.current.lines.extend(event.text.splitlines())
            case _:
                return
        if not isinstance(event, e.Output):
            track.waiting = track.progress = None


def is_cancelled(failed: e.Failed) -> bool:
    """Say whether an error tells of somebody's wish to stop, or of a deadline, and of no fault."""
    return failed.exit_code == Interrupted.exit_code


def _artifact(event: e.BuildEnded) -> e.ArtifactKept | None:
    """Return the image of a build that found nothing to do: it was kept by an earlier run."""
    if not event.artifact.get("id"):
        return None
    given = {name: event.artifact.get(name) or "" for name in ("name", "id", "format", "sha256", "verdict")}
    return e.ArtifactKept(time=event.time, run=event.run, build=event.build, size=event.artifact.get("size"), **given)


def _end(track: BuildState, name: str, kind: Literal["phase", "step"], event: e.PhaseEnded | e.StepEnded) -> Span:
    """Return the bar that ends now; one that never began (a cached step) begins and ends at once."""
    for bar in reversed(track.bars):
        if bar.open and bar.name == name and bar.kind == kind:
            return bar
    track.bars.append(Span(name, kind, event.time - event.seconds))
    return track.bars[-1]
