"""The plain log: what it folds, and what it says of work that goes on."""

from __future__ import annotations

import io

import pytest

from bakery import events as e
from bakery.reporting.lines import Verbosity
from bakery.reporting.plain import Log


def lines(*told: e.Event, verbosity: Verbosity = "normal") -> list[str]:
    stream = io.StringIO()
    reader = Log(stream, verbosity)
    for event in told:
        reader.read(event)
    return [line[9:] for line in stream.getvalue().splitlines()]  # without the clock


def phase(name: str, seconds: float, *between: e.Event, outcome: str = "ok") -> list[e.Event]:
    ended = e.PhaseEnded(build="b", phase=name, seconds=seconds, outcome=outcome)  # type: ignore[arg-type]
    return [e.PhaseStarted(build="b", phase=name), *between, ended]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (phase("seal", 0.99), []),
        (phase("seal", 1.0), ["[b] seal ...", "[b] seal: ok (1.0 s)"]),
        (phase("seal", 0.1, outcome="failed"), ["[b] seal ...", "[b] FAILED: seal (0.1 s)"]),
        (phase("seal", 0.1, outcome="cancelled"), ["[b] seal ...", "[b] seal: cancelled (0.1 s)"]),
        (phase("smoke", 0.1), ["[b] smoke ...", "[b] smoke: ok (0.1 s)"]),
        (
            phase("seal", 0.1, e.Notice(build="b", message="odd")),
            ["[b] seal ...", "[b] odd", "[b] seal: ok (0.1 s)"],
        ),
        (phase("seal", 0.1, e.Notice(build="c", message="odd")), ["[c] odd"]),
        (phase("inspect", 0.1, *phase("relaunch", 0.2)), []),
        (
            phase("inspect", 0.1, *phase("relaunch", 2)),
            ["[b] inspect ...", "[b] relaunch ...", "[b] relaunch: ok (2.0 s)", "[b] inspect: ok (0.1 s)"],
        ),
    ],
)
def test_a_phase_of_under_a_second_that_went_well_is_not_told(told: list[e.Event], shown: list[str]) -> None:
    assert lines(*told) == shown


def test_verbose_tells_of_every_phase() -> None:
    assert lines(*phase("seal", 0.1), verbosity="verbose") == ["[b] seal ...", "[b] seal: ok (0.1 s)"]


class Watched:
    """A log at whose stream and clock the test looks while builds go on."""

    def __init__(self, verbosity: Verbosity = "normal") -> None:
        self.now = 1000.0
        self.stream = io.StringIO()
        self.log = Log(self.stream, verbosity, clock=lambda: self.now)

    def after(self, seconds: float) -> list[str]:
        """What is said when this much time has passed."""
        self.now += seconds
        before = len(self.stream.getvalue())
        self.log.mention()
        return [line[9:] for line in self.stream.getvalue()[before:].splitlines()]


def test_what_goes_on_for_more_than_a_second_is_told_and_after_a_long_time_again() -> None:
    watched = Watched()
    watched.log.read(e.PhaseStarted(build="b", phase="capture", time=1000.0))
    assert watched.after(0.5) == []
    assert watched.after(0.6) == ["[b] capture ..."]
    assert watched.after(10) == []
    assert watched.after(4) == ["[b] capture: 15 s so far"]
    assert watched.after(14) == []
    assert watched.after(2) == ["[b] capture: 31 s so far"]
    assert watched.after(40) == ["[b] capture: 1:11 so far"]
    watched.log.read(e.PhaseEnded(build="b", phase="capture", seconds=72))
    assert watched.after(100) == []


def test_a_task_that_goes_on_is_named_with_what_it_waits_for() -> None:
    watched = Watched()
    watched.log.read(e.BuildStarted(build="b", steps=("base", "nginx"), time=1000.0))
    watched.log.read(e.StepStarted(build="b", step="nginx", index=1, attempt=2, time=1000.0))
    watched.log.read(e.Waiting(build="b", what="apt's lock"))
    assert watched.after(16) == ["[b] task 2/2 nginx, attempt 2: 16 s so far, waiting: apt's lock"]


def test_a_wait_that_goes_on_is_told_when_it_has_become_twice_as_long() -> None:
    waits = [e.Waiting(build="b", what="no banner", seconds=float(seconds)) for seconds in range(3, 30)]
    assert lines(*waits) == [f"[b] waiting: no banner, {told} s so far" for told in ("5.0", "10", "20")]
    other = e.Waiting(build="b", what="no key", seconds=6.0)
    again = e.Waiting(build="b", what="no banner", seconds=6.0)
    assert len(lines(*waits, other, again)) == 5


def test_what_a_build_waits_for_is_not_laid_at_the_door_of_another_phase() -> None:
    watched = Watched()
    for phase_name in ("inspect", "reconnect"):
        watched.log.read(e.PhaseStarted(build="b", phase=phase_name, time=1000.0))
    watched.log.read(e.Waiting(build="b", what="searching the image for secrets"))
    assert [line for line in watched.after(16) if "so far" in line] == [
        "[b] inspect: 16 s so far",
        "[b] reconnect: 16 s so far",
    ]


def test_quiet_says_nothing_of_what_goes_on() -> None:
    watched = Watched("quiet")
    watched.log.read(e.StepStarted(build="b", step="nginx", index=0, time=1000.0))
    assert watched.after(60) == []


def test_a_log_of_a_run_that_goes_on_looks_by_itself() -> None:
    stream = io.StringIO()
    log = Log(stream, live=True, clock=lambda: 5000.0)
    log.read(e.StepStarted(build="b", step="nginx", index=0, time=1000.0))
    log.read(e.RunStarted(time=1000.0))
    try:
        assert log._over.wait(0) is False
        for _ in range(100):
            if "so far" in stream.getvalue():
                break
            log._over.wait(0.05)
        assert "post step nginx: 1:06:40 so far" in stream.getvalue()
    finally:
        log.close()
