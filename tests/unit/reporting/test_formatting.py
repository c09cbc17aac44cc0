"""Words and figures: what a machine writes becomes harmless text, numbers become what people read."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakery.reporting.formatting import NEVER, ago, because, done, duration, indent, plain
from bakery.util.units import counted

pieces = st.sampled_from(
    ["\x1b[31m", "\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bM", "\x1b(B", "\x1b", "\x9b1m", "\x08",
     "\r", "\n", "\r\n", "\t", "\x00", "\x07", "text", "é", "\u202e", "\ud800", "\ufffe", "[31m", "\x85"]
)  # fmt: skip
noise = st.lists(pieces | st.text(max_size=5), max_size=12).map("".join)


@given(noise)
@example("\x1b]0;no end")
@example("\x1b[\x1b[31m")
def test_plain_text_can_steer_nothing(text: str) -> None:
    left = {char for char in plain(text) if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"}
    assert left == set()


@given(noise)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40))
def test_words_are_not_touched(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38:2:255:0:0mred\x1b[m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]0;a title\x1b\\text", "text"),
        ("\x1b]8;;https://example.org\x07link\x1b]8;;\x07", "link"),
        ("\x1b(Btext", "text"),
        ("10 %\r20 %\r30 %", "30 %"),
        ("10 %\r20 %\r30 %\n", "30 %\n"),
        ("10 %\r\n20 %\r\n", "10 %\n20 %\n"),
        ("working\r", "working"),
        ("working\rdone   \nnext", "done   \nnext"),
        ("a\tb\nc", "a\tb\nc"),
        ("bell\x07 back\x08 null\x00", "bell back null"),
        ("half \ud83d of a pair", "half  of a pair"),
        ("😀 é ü", "😀 é ü"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_show_is_left(text: str, shown: str) -> None:
    assert plain(text) == shown


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (0.04, "0.0 s"),
        (0.05, "0.1 s"),
        (9.94, "9.9 s"),
        (9.95, "10 s"),
        (9.999, "10 s"),
        (59.4, "59 s"),
        (59.5, "1:00"),
        (60, "1:00"),
        (187, "3:07"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (3730, "1:02:10"),
        (90_000, "25:00:00"),
    ],
)
def test_a_duration_is_shown_as_people_read_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@given(st.floats(0, 1e6))
def test_a_duration_is_never_far_from_the_truth(seconds: float) -> None:
    shown = duration(seconds)
    read = 0.0
    for part in shown.removesuffix(" s").split(":"):
        read = read * 60 + float(part)
    assert abs(read - seconds) <= 0.5
    assert re.fullmatch(r"\d\.\d s|\d\d s|\d{1,2}:[0-5]\d|\d+:[0-5]\d:[0-5]\d", shown)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "just now"),
        (0, "just now"),
        (59.9, "just now"),
        (60, "1 minute ago"),
        (119, "1 minute ago"),
        (120, "2 minutes ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (86_399, "23 hours ago"),
        (86_400, "1 day ago"),
        (30 * 86_400, "30 days ago"),
    ],
)
def test_how_long_something_is_past_is_said_in_words(seconds: float, shown: str) -> None:
    assert ago(seconds) == shown


@pytest.mark.parametrize(
    ("number", "noun", "shown"),
    [(0, "task", "0 tasks"), (1, "task", "1 task"), (2, "task", "2 tasks"), (1, "test", "1 test")],
)
def test_one_is_not_counted_as_many(number: int, noun: str, shown: str) -> None:
    assert counted(number, noun) == shown


@pytest.mark.parametrize(
    ("count", "total", "unit", "shown"),
    [
        (0, 0, "B", "copying 0 B"),
        (1536, 0, "B", "copying 1.5 KiB"),
        (250, 1000, "B", "copying 25 % of 1000 B"),
        (0, 2048, "B", "copying 0 % of 2.0 KiB"),
        (999, 1000, "B", "copying 100 % of 1000 B"),
        (3000, 1000, "B", "copying 100 % of 1000 B"),
        (3, 12, " blocks", "copying 25 % of 12  blocks"),
    ],
)
def test_progress_is_a_part_of_the_whole_where_that_is_known(count: float, total: float, unit: str, shown: str) -> None:
    assert done("copying", count, total, unit) == shown


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "shown"), [("", ""), (NEVER, ""), ("site.conf changed", "because site.conf changed")]
)
def test_the_first_run_of_a_step_needs_no_reason(reason: str, shown: str) -> None:
    assert because(reason) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), ("one", "one"), ("one\ntwo\n", "one\n  two"), ("a\n\nb", "a\n  \n  b")]
)
def test_further_lines_stand_behind_a_margin(text: str, shown: str) -> None:
    assert indent(text, "  ") == shown
