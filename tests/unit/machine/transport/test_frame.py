"""The frame around a command: what is sent, and what is read of all that comes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.machine.transport.frame import CHATTER, LONGEST, Frame


def mark(frame: Frame) -> bytes:
    """The answer of our shell, as it puts it together."""
    return "".join(frame.words("x")[4:6]).encode()


def answered(frame: Frame) -> Frame:
    frame.take("stderr", mark(frame) + b":4711;")
    frame.take("stdout", mark(frame) + b";")
    return frame


def test_a_line_is_plain_for_every_shell() -> None:
    line = Frame().line("printf '%s\\n' \"hi!\" # é\n\ttrue")
    assert re.fullmatch(r"exec( '[ -&(-~]*')+", line)
    assert not re.search(r"[!\n]|\\\\(?!0)", line)


def test_a_line_does_not_hold_the_answer() -> None:
    frame = Frame()
    assert mark(frame).decode() not in frame.line("ps auxww")


def test_each_frame_has_a_mark_of_its_own() -> None:
    assert mark(Frame()) != mark(Frame())


def test_what_others_say_before_is_no_output() -> None:
    frame = Frame()
    assert frame.take("stdout", b"Welcome\n" + mark(frame) + b";first\n") == b"first\n"
    assert not frame.proven
    assert frame.take("stderr", b"setlocale: no\n" + mark(frame) + b":47") == b""
    assert frame.take("stderr", b"11;oops\n") == b"oops\n"
    assert (frame.proven, frame.pid, frame.chatter) == (True, 4711, "Welcome\nsetlocale: no")


def test_a_repeated_line_is_no_answer() -> None:
    frame = Frame()
    for stream in ("stdout", "stderr"):
        assert frame.take(stream, frame.line("true").encode()) == b""
    assert (frame.proven, frame.pid) == (False, None)


@given(st.binary(max_size=80), st.integers(0, 255), st.lists(st.integers(1, 9), max_size=90))
def test_the_exit_code_is_taken_out_however_the_stream_is_cut(text: bytes, code: int, sizes: list[int]) -> None:
    frame = answered(Frame())
    whole, came = text + mark(frame) + b":%d;" % code, b""
    for size in sizes:
        came += frame.take("stderr", whole[:size])
        whole = whole[size:]
    came += frame.take("stderr", whole) + frame.rest()
    assert (came, frame.exited) == (text, code)


def test_half_an_answer_at_the_end_is_output() -> None:
    frame = answered(Frame())
    half = mark(frame)[:9]
    assert frame.take("stderr", b"end " + half) + frame.rest() == b"end " + half
    assert frame.exited is None


def test_binary_output_passes_unchanged() -> None:
    frame = answered(Frame())
    data = bytes(range(256)) * 3
    assert frame.take("stdout", data) == data


def test_somebody_who_never_stops_talking_is_noticed() -> None:
    frame = Frame()
    frame.take("stdout", b"y\n" * CHATTER)
    assert frame.flooded


def test_a_command_that_no_kernel_takes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"script\(\)"):
        Frame().line("\n" * (LONGEST // 4))
