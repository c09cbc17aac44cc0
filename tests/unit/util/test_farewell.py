"""Saying goodbye to a server: once, later, and never by who collects."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

from bakery.util.farewell import Farewell


class Session:
    """One whose end is told, and which refers to itself, so that only the collector frees it."""

    def __init__(self, goodbye: Callable[[], object]) -> None:
        self.itself = self
        self.farewell = Farewell(self, goodbye)


def test_who_collects_does_not_wait_for_the_answer() -> None:
    answering, said = threading.Lock(), threading.Event()

    def goodbye() -> None:
        with answering:
            said.set()

    Session(goodbye)
    with answering:  # as the thread does on whose work the answer waits
        gc.collect()
    assert said.wait(10)


def test_it_is_said_once_and_at_once_where_that_is_asked_for() -> None:
    by: list[threading.Thread] = []
    session = Session(lambda: by.append(threading.current_thread()))
    session.farewell.now()
    session.farewell.now()
    del session
    gc.collect()
    after = threading.Event()
    Session(after.set)
    gc.collect()
    assert after.wait(10)
    assert by == [threading.current_thread()]


def test_one_that_fails_keeps_nobody_from_the_next() -> None:
    def fail() -> None:
        raise ConnectionError

    after = threading.Event()
    Session(fail)
    gc.collect()
    Session(fail).farewell.now()
    Session(after.set)
    gc.collect()
    assert after.wait(10)
