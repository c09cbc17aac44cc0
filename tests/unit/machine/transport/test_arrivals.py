"""Whoever waits on a channel hears of all that comes, on either stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from paramiko import Channel

from bakery.machine.transport.arrivals import Arrivals


def seconds_of(wait: Callable[[], None]) -> float:
    """Return how long it took."""
    began = time.monotonic()
    wait()
    return time.monotonic() - began


@pytest.mark.parametrize("stream", ["in_buffer", "in_stderr_buffer"])
def test_what_comes_on_either_stream_ends_the_wait(stream: str) -> None:
    channel = Channel(1)
    arrivals = Arrivals(channel)
    threading.Timer(0.05, getattr(channel, stream).feed, [b"x"]).start()
    assert seconds_of(lambda: arrivals.wait(10)) < 5


def test_what_came_before_anybody_waited_is_not_waited_for() -> None:
    channel = Channel(1)
    channel.in_stderr_buffer.feed(b"x")
    assert seconds_of(lambda: Arrivals(channel).wait(10)) < 5


def test_reading_one_stream_to_its_end_does_not_hide_what_came_on_the_other() -> None:
    """The sign that one stream gives is taken away then, and the other one's stays."""
    channel = Channel(1)
    arrivals = Arrivals(channel)
    channel.in_buffer.feed(b"out")
    channel.in_stderr_buffer.feed(b"error")
    assert channel.in_buffer.read(9) == b"out"
    assert seconds_of(lambda: arrivals.wait(10)) < 5


def test_nothing_is_heard_twice() -> None:
    channel = Channel(1)
    arrivals = Arrivals(channel)
    channel.in_buffer.feed(b"x")
    arrivals.wait(10)
    assert seconds_of(lambda: arrivals.wait(0.1)) >= 0.1


def test_the_end_of_the_streams_ends_the_wait() -> None:
    channel = Channel(1)
    arrivals = Arrivals(channel)
    threading.Timer(0.05, channel.in_buffer.close).start()
    assert seconds_of(lambda: arrivals.wait(10)) < 5


def test_no_answer_is_ever_missed() -> None:
    """Asked and answered as by a shell of the smoke tests: a piece on each stream, as near to each other as can be."""
    channel, asked = Channel(1), threading.Semaphore(0)
    arrivals = Arrivals(channel)

    def answer() -> None:
        for number in range(5000):
            asked.acquire()
            channel.in_buffer.feed(b"o")
            time.sleep(1e-6 * (number % 50))
            channel.in_stderr_buffer.feed(b"e")

    threading.Thread(target=answer, daemon=True).start()
    for _ in range(5000):
        asked.release()
        came = 0
        while came < 2:  # one piece of each
            there = [each for each in (channel.in_buffer, channel.in_stderr_buffer) if each.read_ready()]
            came += sum(len(each.read(9)) for each in there)
            if not there:
                assert seconds_of(lambda: arrivals.wait(10)) < 5
