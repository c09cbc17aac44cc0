"""Waiting and trying again: deadlines, cancellation, shields, and what the user hears meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.errors import BakeryError, ConnectError, DriverError, Interrupted, NotYet, RetryableError
from bakery.util.retry import retry
from bakery.util.waiting import Cancel, interruptible, until


@dataclass
class Clock:
    """A clock that only goes on while somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list[float])

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += max(seconds, 1e-6)  # a sleep too short for a float is none, and a real clock goes on


class Timeless(Cancel):
    """A token whose sleeps take no time of ours."""

    def __init__(self, clock: Clock, deadline: float | None = None) -> None:
        super().__init__(deadline)
        self._clock = clock

    def sleep(self, seconds: float) -> None:
        self.check()
        self._clock.sleep(seconds)
        self.check()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that `waiting` looks at."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


def after(times: int, answer: object = "here", reason: str = "not there") -> Callable[[], object]:
    """A probe that answers after so many questions."""
    left = iter(range(times))

    def probe() -> object:
        if next(left, None) is None:
            return answer
        raise NotYet(reason)

    return probe


# ---- until ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["here", None, 0, False, []])
def test_whatever_a_probe_returns_is_the_answer(clock: Clock, answer: object) -> None:
    assert until(after(0, answer), what="it", timeout=5, cancel=Timeless(clock)) == answer
    assert clock.slept == []


def test_pauses_double_up_to_the_longest(clock: Clock) -> None:
    until(after(7), what="it", timeout=60, cancel=Timeless(clock), every=(0.1, 1.0), late=100)
    assert clock.slept == pytest.approx([0.1, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@pytest.mark.parametrize("late", [0.1, 0.2, 0.5])
def test_what_happens_is_never_seen_later_than_a_part_of_the_time_waited(clock: Clock, late: float) -> None:
    until(after(60), what="it", timeout=10_000, cancel=Timeless(clock), every=(0.05, 100.0), late=late)
    waited = 0.0
    for pause in clock.slept:
        assert pause <= max(0.05, waited * late) + 1e-9
        waited += pause


@pytest.mark.parametrize("error", [DriverError, ConnectError])
def test_at_the_deadline_the_last_reason_is_told(clock: Clock, error: type[BakeryError]) -> None:
    with pytest.raises(error) as caught:
        until(
            after(10**6, reason="no banner"),
            what="the machine answers",
            timeout=30,
            cancel=Timeless(clock),
            error=error,
            hint="look at the console",
        )
    assert caught.value.what == "the machine answers: timed out"
    assert caught.value.why == "waited 30 s and still: no banner"
    assert caught.value.hint == "look at the console"
    assert clock.now == pytest.approx(1030)


def test_the_user_hears_each_new_reason_once_with_the_time(clock: Clock) -> None:
    reasons = iter(["no address", "no address", "no banner", "no banner", "no address"])
    told: list[tuple[str, float]] = []

    def probe() -> None:
        if (reason := next(reasons, None)) is not None:
            raise NotYet(reason)

    until(
        probe,
        what="it",
        timeout=60,
        cancel=Timeless(clock),
        every=(1.0, 1.0),
        notify=lambda reason, seconds: told.append((reason, seconds)),
    )
    assert told == [("no address", 0.0), ("no banner", 2.0), ("no address", 4.0)]


def test_any_other_error_ends_the_wait_at_once(clock: Clock) -> None:
    def probe() -> None:
        raise DriverError("the machine died")

    with pytest.raises(DriverError, match="died"):
        until(probe, what="it", timeout=60, cancel=Timeless(clock))
    assert clock.slept == []


def test_a_cancelled_wait_ends_before_it_asks_again(clock: Clock) -> None:
    cancel = Timeless(clock)
    asked = 0

    def probe() -> None:
        nonlocal asked
        asked += 1
        cancel.set("interrupted by SIGINT")
        raise NotYet("not there")

    with pytest.raises(Interrupted, match="SIGINT"):
        until(probe, what="it", timeout=60, cancel=cancel)
    assert asked == 1


@settings(max_examples=30)
@given(timeout=st.floats(0.1, 100), first=st.floats(0.1, 2), longest=st.floats(0.5, 30))
def test_no_wait_is_longer_than_its_timeout(timeout: float, first: float, longest: float) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", clock.monotonic)
        with pytest.raises(DriverError):
            until(after(10**6), what="it", timeout=timeout, cancel=Timeless(clock), every=(first, max(first, longest)))
    assert clock.now - 1000 == pytest.approx(timeout, abs=1e-3)


# ---- cancellation ---------------------------------------------------------------------------------------------------


def test_the_first_reason_stays() -> None:
    cancel = Cancel()
    assert cancel.reason == ""
    cancel.check()
    cancel.set("first")
    cancel.set("second")
    assert cancel.reason == "first"
    with pytest.raises(Interrupted, match="first"):
        cancel.check()


def test_a_deadline_cancels_by_itself(clock: Clock) -> None:
    cancel = Cancel(deadline=1005)
    cancel.check()
    clock.now = 1005.1
    with pytest.raises(Interrupted, match="the build's deadline has passed"):
        cancel.check()
    clock.now = 1000  # once passed, it stays passed
    assert cancel.reason == "the build's deadline has passed"


def test_clean_up_is_shielded_in_its_thread_alone() -> None:
    cancel = Cancel()
    cancel.set("now")
    seen: list[str] = []
    with cancel:
        with cancel:
            cancel.check()
        assert (cancel.shielded, cancel.reason) == (True, "")
        thread = threading.Thread(target=lambda: seen.append(cancel.reason))
        thread.start()
        thread.join()
    assert seen == ["now"]
    assert not cancel.shielded
    with pytest.raises(Interrupted):
        cancel.check()


def test_a_limit_holds_within_its_block_and_its_thread(clock: Clock) -> None:
    cancel = Cancel()
    seen: list[str] = []
    with cancel.limited(10, "the phase took too long"):
        cancel.check()
        clock.now += 11
        thread = threading.Thread(target=lambda: seen.append(cancel.reason))
        thread.start()
        thread.join()
        with pytest.raises(Interrupted, match="the phase took too long"):
            cancel.check()
    cancel.check()
    assert seen == [""]


@pytest.mark.parametrize(("outer", "inner", "reason"), [(5, 50, "outer"), (50, 5, "inner"), (5, 5, "outer")])
def test_of_limits_in_each_other_the_one_that_passed_counts(
    clock: Clock, outer: float, inner: float, reason: str
) -> None:
    cancel = Cancel()
    with cancel.limited(outer, "outer"), cancel.limited(inner, "inner"):
        clock.now += 6
        assert cancel.reason == reason


def test_a_limit_is_lifted_by_an_error_too(clock: Clock) -> None:
    cancel = Cancel()
    with pytest.raises(ZeroDivisionError), cancel.limited(1, "too long"):
        _ = 1 / 0
    clock.now += 5
    cancel.check()


def test_what_is_watched_cancels_within_its_block_and_its_thread() -> None:
    cancel, said = Cancel(), [""]
    with cancel.watching(lambda: said[0]):
        cancel.check()
        said[0] = "the inspection failed"
        with pytest.raises(Interrupted, match="the inspection failed"):
            cancel.check()
        with cancel:
            cancel.check()  # clean-up goes on
        with ThreadPoolExecutor() as pool:
            pool.submit(cancel.check).result()
    cancel.check()


def test_a_sleep_ends_when_somebody_cancels() -> None:
    cancel = Cancel()
    thread = threading.Timer(0.02, cancel.set, ["enough"])
    thread.start()
    began = time.monotonic()
    with pytest.raises(Interrupted, match="enough"):
        cancel.sleep(60)
    assert time.monotonic() - began < 30
    thread.join()


@pytest.mark.parametrize("how", ["a deadline", "a limit"])
def test_a_sleep_is_no_longer_than_what_is_left(how: str) -> None:
    soon = time.monotonic() + 0.02
    cancel = Cancel(deadline=soon if how == "a deadline" else None)
    began = time.monotonic()

    def sleep_often() -> None:
        while True:
            cancel.sleep(60)

    with cancel.limited(0.02 if how == "a limit" else 900, "over"), pytest.raises(Interrupted):
        sleep_often()
    assert time.monotonic() - began < 30


# ---- calls that block -----------------------------------------------------------------------------------------------


def never(value: object) -> None:
    """Take a result that must not come."""
    pytest.fail(f"{value!r} was discarded")


def test_a_call_that_blocks_returns_what_it_returns_and_raises_what_it_raises() -> None:
    assert interruptible(lambda: 5, Cancel(), discard=never) == 5
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0, Cancel(), discard=never)


def test_a_result_that_comes_after_the_cancellation_is_discarded() -> None:
    cancel, go, gone = Cancel(), threading.Event(), threading.Event()
    discarded: list[str] = []

    def call() -> str:
        cancel.set("enough")
        go.wait(30)
        return "late"

    def discard(value: str) -> None:
        discarded.append(value)
        gone.set()

    with pytest.raises(Interrupted, match="enough"):
        interruptible(call, cancel, discard=discard)
    go.set()
    assert gone.wait(30)
    assert discarded == ["late"]


def test_shielded_a_call_is_made_in_this_thread() -> None:
    cancel = Cancel()
    cancel.set("now")
    with cancel:
        assert interruptible(threading.current_thread, cancel, discard=never) is threading.current_thread()


# ---- trying again ---------------------------------------------------------------------------------------------------


def failing(*errors: Exception) -> Callable[[], str]:
    ways: Iterator[Exception] = iter(errors)

    def call() -> str:
        if (error := next(ways, None)) is not None:
            raise error
        return "done"

    return call


THROTTLED = RetryableError("request limit exceeded")


def test_what_may_help_is_tried_again_with_longer_and_longer_pauses(clock: Clock) -> None:
    assert retry(failing(THROTTLED, THROTTLED, THROTTLED), Timeless(clock), first=1.0, longest=30.0) == "done"
    for pause, least in zip(clock.slept, (1.0, 2.0, 4.0), strict=True):
        assert least <= pause <= least + 0.5


def test_no_pause_is_longer_than_the_longest_and_some_chance(clock: Clock) -> None:
    with pytest.raises(RetryableError):
        retry(failing(*[THROTTLED] * 20), Timeless(clock), attempts=9, first=1.0, longest=3.0)
    assert len(clock.slept) == 8
    assert max(clock.slept) <= 3.5


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_the_last_error_is_raised_after_so_many_attempts(clock: Clock, attempts: int) -> None:
    errors = [RetryableError(f"attempt {number}") for number in range(1, 9)]
    with pytest.raises(RetryableError, match=f"attempt {attempts}$"):
        retry(failing(*errors), Timeless(clock), attempts=attempts)


@pytest.mark.parametrize("error", [DriverError("denied"), ValueError("no"), NotYet("no")])
def test_what_cannot_help_is_not_tried_again(clock: Clock, error: Exception) -> None:
    with pytest.raises(type(error)):
        retry(failing(error), Timeless(clock))
    assert clock.slept == []


def test_other_errors_may_be_named(clock: Clock) -> None:
    assert retry(failing(ValueError("no")), Timeless(clock), on=ValueError) == "done"
    with pytest.raises(RetryableError):
        retry(failing(THROTTLED), Timeless(clock), on=ValueError)


def test_each_failure_that_is_followed_by_another_attempt_is_told(clock: Clock) -> None:
    told: list[tuple[int, str]] = []
    with pytest.raises(RetryableError):
        retry(
            failing(*[THROTTLED] * 9),
            Timeless(clock),
            attempts=3,
            say=lambda number, error: told.append((number, str(error))),
        )
    assert told == [(1, "request limit exceeded"), (2, "request limit exceeded")]


def test_a_cancellation_ends_the_pauses(clock: Clock) -> None:
    cancel = Timeless(clock)

    def call() -> None:
        cancel.set("enough")
        raise THROTTLED

    with pytest.raises(Interrupted, match="enough"):
        retry(call, cancel)
