"""Ctrl-C: the first one cleans up, the second is answered, the third leaves the rest to `bake gc`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bakery.build import signals
from bakery.build.signals import CAUGHT, Signals
from bakery.events import Event, Notice, Waiting
from bakery.util.waiting import Cancel


class Told(list[Event]):
    """What readers heard; from a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)

    def take(self, event: Event) -> None:
        """Take one."""
        self.append(event)
        self.came.release()

    def wait(self, count: int) -> list[Event]:
        """Wait until so many more have come, and return all."""
        for _ in range(count):
            assert self.came.acquire(timeout=5)
        return list(self)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Readers; afterwards this process hears signals as it did before."""
    before = {number: signal.getsignal(number) for number in CAUGHT}
    monkeypatch.setattr(signals, "begin", lambda: None)
    yield Told()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", CAUGHT)
def test_the_first_one_cancels_the_run_and_says_so(told: Told, number: signal.Signals) -> None:
    cancel = Cancel()
    with Signals(cancel, told.take):
        signal.raise_signal(number)
        assert cancel.reason == f"interrupted by {number.name}"
        (event,) = told.wait(1)
    assert isinstance(event, Notice)
    assert event.message == f"{number.name}: stopping, and destroying what was made"


def test_the_second_one_is_answered_with_what_goes_on(told: Told) -> None:
    with Signals(Cancel(), told.take):
        signal.raise_signal(signal.SIGINT)
        told.wait(1)
        signal.raise_signal(signal.SIGTERM)
        _, notice, waiting = told.wait(2)
    assert isinstance(notice, Notice)
    assert notice.message == "SIGTERM again: still destroying what was made"
    assert "a third one stops at once" in notice.hint
    assert isinstance(waiting, Waiting)


def test_the_third_one_leaves_the_rest_to_gc(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    written: list[bytes] = []
    monkeypatch.setattr(signals, "end_at_once", ended.append)
    monkeypatch.setattr(os, "write", lambda _, data: written.append(data))
    with Signals(Cancel(), told.take):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    assert ended == [10]
    assert b"`bake gc` destroys what is left" in written[0]


def test_without_one_this_process_hears_them_afterwards_as_before(told: Told) -> None:
    def mine(_number: int, _frame: Any) -> None: ...

    signal.signal(signal.SIGTERM, mine)
    with Signals(Cancel(), told.take):
        assert signal.getsignal(signal.SIGTERM) is not mine
    assert signal.getsignal(signal.SIGTERM) is mine


def test_one_that_comes_after_the_clean_up_changes_nothing_about_the_end(told: Told) -> None:
    with Signals(Cancel(), told.take):
        signal.raise_signal(signal.SIGINT)
    assert {signal.getsignal(number) for number in CAUGHT} == {signal.SIG_IGN}


def test_under_nohup_a_hang_up_does_nothing_and_programs_that_we_start_can_still_use_it(told: Told) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    cancel = Cancel()
    with Signals(cancel, told.take):
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # which would be inherited
        signal.raise_signal(signal.SIGHUP)
    assert (cancel.reason, list(told)) == ("", [])
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_outside_of_the_main_thread_nothing_is_installed(told: Told) -> None:
    before = [signal.getsignal(number) for number in CAUGHT]
    seen: list[Any] = []

    def run() -> None:
        with Signals(Cancel(), told.take):
            seen.extend(signal.getsignal(number) for number in CAUGHT)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == before
