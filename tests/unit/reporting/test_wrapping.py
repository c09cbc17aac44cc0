"""Lines on a screen: broken between words, and never between a number and its unit."""

from __future__ import annotations

import io
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bakery.reporting.wrapping import Wrapped, breaks


def wrapped(line: str, width: int) -> list[str]:
    places = [0, *breaks(line, width), len(line)]
    return [line[start:end].rstrip() for start, end in itertools.pairwise(places)]


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("launch 3.0 s, capture 12 s", 10, ["launch", "3.0 s,", "capture", "12 s"]),
        ("launch 3.0 s, capture 12 s", 14, ["launch 3.0 s,", "capture 12 s"]),
        ("of 20.0 GiB it took", 8, ["of", "20.0 GiB", "it took"]),
        ("of 20.0 GiB it took", 7, ["of", "20.0 Gi", "B it", "took"]),
        ("43 % of 500.0 MiB", 9, ["43 % of", "500.0 MiB"]),
        ("short", 80, ["short"]),
        ("", 80, [""]),
        ("12 seconds", 4, ["12", "seco", "nds"]),
        ("日本語日本語", 4, ["日本", "語日", "本語"]),
    ],
)
def test_a_line_is_broken_between_words(line: str, width: int, shown: list[str]) -> None:
    assert wrapped(line, width) == shown


@given(st.lists(st.sampled_from(["launch", "3.0 s,", "12 s", "412.0 MiB", "7 %", "a", "b,"]), max_size=12))
def test_no_number_is_torn_from_its_unit(words: list[str]) -> None:
    for part in wrapped(" ".join(words), 9):
        assert not re.match(r"(s|MiB|%)(?!\w)", part)
        assert not re.search(r"\d$", part)


@given(st.text("ab 1s%\u65e5", max_size=30), st.integers(2, 12))
def test_nothing_is_lost_and_nothing_is_too_wide(line: str, width: int) -> None:
    parts = wrapped(line, width)
    assert "".join(parts).replace(" ", "") == line.replace(" ", "")
    assert all(Text(part).cell_len <= width for part in parts if part.strip() == part)


def test_in_a_table_a_text_is_as_wide_as_its_column() -> None:
    table = Table.grid(padding=(0, 1))
    table.add_row("web", Wrapped(Text("launch 3.0 s, capture 12 s\nsmoke 4.0 s")))
    stream = io.StringIO()
    Console(file=stream, width=18).print(table)
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "web launch 3.0 s,",
        "    capture 12 s",
        "    smoke 4.0 s",
    ]
