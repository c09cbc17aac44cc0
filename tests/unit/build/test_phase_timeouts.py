"""A phase's own time: it ends this thread's waits, nobody else's, and is told apart from a cancelled run."""

from __future__ import annotations

import threading
import time

import pytest

from bakery.build.phase_timeouts import PHASES, checked, within
from bakery.errors import ConnectError, DriverError, Interrupted, SmokeError, TaskError, UsageError
from bakery.util.waiting import Cancel


def test_a_phase_ends_when_its_time_is_over_with_the_error_of_its_kind() -> None:
    for phase, error in (("capture", DriverError), ("connect", ConnectError), ("provision", TaskError)):
        with pytest.raises(error, match=f"{phase} took longer than 0.01 s"), within(cancel := Cancel(), phase, 0.01):
            cancel.sleep(60)
    assert PHASES["smoke"] is SmokeError


def test_no_limit_is_no_limit() -> None:
    cancel = Cancel()
    with within(cancel, "capture", None):
        cancel.sleep(0.01)


def test_a_cancelled_run_is_no_slow_phase() -> None:
    cancel = Cancel()
    threading.Timer(0.01, cancel.set, args=["interrupted by SIGINT"]).start()
    with pytest.raises(Interrupted, match="SIGINT"), within(cancel, "capture", 30):
        cancel.sleep(60)


def test_another_thread_is_not_bounded() -> None:
    cancel = Cancel()
    ended: list[str] = []

    def other() -> None:
        cancel.sleep(0.1)
        ended.append("well")

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(DriverError), within(cancel, "capture", 0.01):
        cancel.sleep(60)
    thread.join()
    assert ended == ["well"]
    cancel.check()


def test_clean_up_inside_a_phase_is_not_bounded() -> None:
    cancel = Cancel()

    def clean_up() -> None:
        time.sleep(0.02)
        with cancel:
            cancel.check()
            cancel.sleep(0.01)
        cancel.check()

    with pytest.raises(DriverError), within(cancel, "capture", 0.01):
        clean_up()


def test_the_inner_of_two_limits_counts_while_it_lasts() -> None:
    cancel = Cancel()
    with within(cancel, "provision", 60):
        with pytest.raises(DriverError, match="seal"), within(cancel, "seal", 0.01):
            cancel.sleep(60)
        cancel.check()


def test_an_unknown_phase_is_refused() -> None:
    assert checked({"seal": 1.0}) == {"seal": 1.0}
    with pytest.raises(UsageError, match="no phase is called 'bake'"):
        checked({"bake": 1.0})
