"""Sizes and durations mean the same wherever they are written."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bakery.cache.checkpoints.store import limit
from bakery.cli.options import Duration, Size
from bakery.drivers.qemu.source import size
from bakery.errors import ImagefileError
from bakery.imagefile import labels
from bakery.util.durations import seconds
from bakery.util.units import format_size, parse_duration, parse_size

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("20G", 20 * GIB),
        ("20g", 20 * GIB),
        ("20GB", 20 * GIB),
        ("20 GiB", 20 * GIB),
        ("1.5K", 1536),
        ("812 B", 812),
        ("0", 0),
        (4096, 4096),
    ],
)
def test_a_size_is_read_in_powers_of_1024(text: str | int, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.G", "1Z", "1 G B", "\uff11G", True, None, -1])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_that_is_shown_reads_back_as_nearly_the_same(count: int) -> None:
    assert abs(parse_size(format_size(count)) - count) <= max(0.5, count * 0.05)
    assert len(format_size(count)) <= len("1023.9 GiB")


def test_20g_is_20_gib_wherever_it_is_written() -> None:
    assert limit({"BAKERY_CACHE_LIMIT": "20G"}) == 20 * GIB
    assert Size().convert("20G", None, None) == 20 * GIB
    assert size("20G", field="disk") == 20 * GIB
    assert labels.parse("memory:20G") == ("memory", 20 * GIB)
    assert format_size(20 * GIB) == "20.0 GiB"


@pytest.mark.parametrize(
    ("text", "count"),
    [("90", 90), ("90s", 90), (90, 90), (1.5, 1.5), ("30m", 1800), ("12h", 43_200), ("2w", 1_209_600)],
)
def test_a_span_of_time_is_read_alike_by_decorators_and_options(text: str | float, count: float) -> None:
    assert parse_duration(text) == count
    assert seconds(text) == count
    assert Duration().convert(text, None, None) == count


@pytest.mark.parametrize("text", ["", "m", "-1", "1y", "1 m s", True, -1])
def test_what_is_no_span_of_time_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="is no span of time"):
        parse_duration(text)
    with pytest.raises(ImagefileError, match="is no span of time"):
        seconds(text)


def test_the_command_line_says_what_is_wrong_with_a_size() -> None:
    import click

    @click.command()
    @click.option("--keep", type=Size())
    def command(keep: int) -> None:
        click.echo(keep)

    assert "is no size" in CliRunner().invoke(command, ["--keep", "20Q"]).output
