"""Values of variables: from text and files to the annotated type, to plain data, and back."""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, NewType, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.errors import UsageError
from bakery.imagefile.conversion import convert, from_plain, shown, shown_type, to_plain
from bakery.imagefile.variables import read_file


class Colour(enum.Enum):
    """Some values."""

    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    """Some numbers."""

    SMALL = 1
    LARGE = 2


class Mode(enum.Flag):
    """Some bits."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Disk:
    """A class of the user's."""

    size: int
    name: str = "root"
    mount: Path | None = None


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int = 0


class Options(TypedDict, total=False):
    """A mapping with names."""

    level: int
    names: list[str]


Port = NewType("Port", int)

numbers = st.integers(-(1 << 63), 1 << 63)
texts = st.text(max_size=12)
spans = st.timedeltas(dt.timedelta(0), dt.timedelta(days=3650))
disks = st.builds(
    Disk, size=numbers, name=texts, mount=st.none() | st.sampled_from([Path("/"), Path("/srv"), Path("a b")])
)
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, numbers),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (str, texts),
    (dt.date, st.dates()),
    (dt.datetime, st.datetimes(timezones=st.none() | st.just(dt.UTC))),
    (dt.time, st.times()),
    (dt.timedelta, spans),
    (Decimal, st.decimals(allow_nan=False)),
    (uuid.UUID, st.uuids()),
    (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    (ipaddress.IPv6Address, st.ip_addresses(v=6)),
    (Path, st.sampled_from([Path("/a"), Path("a/b"), Path(), Path("/a b/ü")])),
    (bytes, st.binary(max_size=8)),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Mode, st.sampled_from([Mode.READ, Mode.READ | Mode.WRITE])),
    (Port, numbers),
    (Literal["a", 3], st.sampled_from(["a", 3])),
    (int | None, st.none() | numbers),
    (list[int], st.lists(numbers, max_size=3)),
    (list[str], st.lists(texts, max_size=3)),
    (list[dt.date], st.lists(st.dates(), max_size=2)),
    (Sequence[Path], st.lists(st.sampled_from([Path("/a"), Path("b")]), max_size=2)),
    (tuple[int, ...], st.lists(numbers, max_size=3).map(tuple)),
    (tuple[int, str], st.tuples(numbers, texts)),
    (set[str], st.sets(texts, max_size=3)),
    (frozenset[int], st.frozensets(numbers, max_size=3)),
    (dict[str, int], st.dictionaries(texts, numbers, max_size=3)),
    (dict[int, str], st.dictionaries(numbers, texts, max_size=3)),
    (
        Mapping[str, list[Decimal]],
        st.dictionaries(texts, st.lists(st.decimals(allow_nan=False), max_size=2), max_size=2),
    ),
    (Disk, disks),
    (list[Disk], st.lists(disks, max_size=2)),
    (dict[str, Disk | None], st.dictionaries(texts, st.none() | disks, max_size=2)),
    (Point, st.builds(Point, numbers, numbers)),
    (Options, st.fixed_dictionaries({}, optional={"level": numbers, "names": st.lists(texts, max_size=2)})),
]
"""Types of variables, and values of them."""
SCALARS = (int, float, str, dt.date, dt.datetime, dt.time, Decimal)
values = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind[0]), kind[1]))


@settings(max_examples=100)
@given(values)
def test_a_value_comes_back_from_plain_data(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    data = json.loads(json.dumps(to_plain(value)))
    again = convert(from_plain(data), kind)
    assert again == value
    assert type(again) is type(value)


@settings(max_examples=50)
@given(values)
def test_a_value_of_the_type_stays_as_it_is(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    assert convert(value, kind) == value


@settings(max_examples=50)
@given(values)
def test_what_is_shown_is_json(pair: tuple[Any, Any]) -> None:
    _, value = pair
    assert "__type__" not in json.dumps(shown(value))


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [pair for pair in KINDS if pair[0] in SCALARS],
    ids=lambda value: getattr(value, "__name__", ""),
)
@settings(max_examples=15)
@given(data=st.data())
def test_a_scalar_is_read_from_its_own_text(kind: Any, strategy: st.SearchStrategy[Any], data: st.DataObject) -> None:
    value = data.draw(strategy)
    assert convert(str(value), kind) == value


@settings(max_examples=30)
@given(st.lists(numbers, min_size=1, max_size=4))
def test_a_list_is_read_from_words_between_commas_or_json(items: list[int]) -> None:
    assert convert(",".join(map(str, items)), list[int]) == items
    assert convert(" , ".join(map(str, items)), tuple[int, ...]) == tuple(items)
    assert convert(json.dumps(items), list[int]) == items


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("yes", bool, True),
        ("OFF", bool, False),
        ("1", bool, True),
        ("1_000", int, 1000),
        (" 7 ", int, 7),
        ("1e3", float, 1000.0),
        ("", list[str], []),
        ("a", list[str], ["a"]),
        ("a,,b", list[str], ["a", "", "b"]),
        ("90", dt.timedelta, dt.timedelta(seconds=90)),
        ("30m", dt.timedelta, dt.timedelta(minutes=30)),
        ("", int | None, None),
        ("none", int | None, None),
        ("none", str, "none"),
        ("3", int | str, 3),
        ("x", int | str, "x"),
        ("RED", Colour, Colour.RED),
        ("red", Colour, Colour.RED),
        ("2", Size, Size.LARGE),
        ("3", Literal["a", 3], 3),
        ('{"size": "4"}', Disk, Disk(4)),
        ('{"x": 1, "y": 2}', Point, Point(1, 2)),
        ('[{"size": 1}, {"size": 2}]', list[Disk], [Disk(1), Disk(2)]),
        ('{"a": [1, 2]}', dict[str, tuple[int, int]], {"a": (1, 2)}),
        ("10.0.0.0/8", ipaddress.IPv4Network, ipaddress.IPv4Network("10.0.0.0/8")),
        ("/srv", PurePosixPath, PurePosixPath("/srv")),
        ("anything", Any, "anything"),
        ("anything", object, "anything"),
    ],
)
def test_text_becomes_the_annotated_type(text: str, kind: Any, value: Any) -> None:
    assert convert(text, kind) == value
    assert type(convert(text, kind)) is type(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(3, float | int), (3.5, int | float), (True, int | bool), (1, bool | int), ("x", int | str), ([1], dict | list)],
)
def test_a_value_that_has_one_of_the_types_keeps_it(value: Any, kind: Any) -> None:
    assert convert(value, kind) == value
    assert type(convert(value, kind)) is type(value)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("many", int, "a whole number is wanted"),
        ("1.5", int, "a whole number is wanted"),
        (1.5, int, "a whole number is wanted"),
        (True, int, "a number is wanted"),
        ("many", float, "a number is wanted"),
        ("perhaps", bool, "true or false is wanted"),
        (2, bool, "true or false is wanted"),
        (3, str, "put it in quotes"),
        ("2026-02-30", dt.date, "a date, as in 2026-01-31 is wanted"),
        ("noon", dt.time, "a time, as in 12:00 is wanted"),
        ("soon", dt.timedelta, "a span of time"),
        ("x", Decimal, "a decimal number is wanted"),
        ("x", uuid.UUID, "a UUID is wanted"),
        ("300.0.0.1", ipaddress.IPv4Address, "an IPv4Address is wanted"),
        ("green", Colour, "allowed are: red, blue"),
        ("b", Literal["a", 3], "allowed are: a, 3"),
        ("x", int | None, "a whole number is wanted"),
        (3, list[int], "a list is wanted"),
        ("[1, 2", list[int], "it is not valid JSON"),
        ("1,x", list[int], "a whole number is wanted"),
        ("1", tuple[int, int], "a list of 2 is wanted"),
        ("a", dict[str, int], "it is not valid JSON"),
        ("[1]", dict[str, int], "a mapping is wanted"),
        ('{"sise": 1}', Disk, "Disk has no sise; did you mean size?"),
        ('{"size": "x"}', Disk, "a whole number is wanted"),
        (3, Disk, "a mapping is wanted"),
        ("x", None, "none is wanted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_is_wanted(value: Any, kind: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        convert(value, kind)


@pytest.mark.parametrize("value", [object(), print, {"a": object()}, [1j]])
def test_what_is_no_plain_data_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="which is no plain data"):
        to_plain(value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (int, "int"),
        (list[int], "list[int]"),
        (int | None, "int | None"),
        (Literal["a"], "Literal['a']"),
        (Disk, "Disk"),
    ],
)
def test_a_type_is_shown_as_it_was_written(kind: Any, name: str) -> None:
    assert shown_type(kind) == name


# ---- variable files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vars.toml", b"workers = 8\n[names]\na = 1\n"),
        ("vars.json", b'{"workers": 8, "names": {"a": 1}}'),
        ("vars.yaml", b"workers: 8\nnames: {a: 1}\n"),
        ("vars.yml", b"workers: 8\nnames:\n  a: 1\n"),
    ],
)
def test_a_variable_file_is_read_by_its_ending(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_file(tmp_path / name) == {"workers": 8, "names": {"a": 1}}


def test_a_mark_of_the_byte_order_is_no_part_of_a_file(tmp_path: Path) -> None:
    for name, text in (("a.toml", "a = 1"), ("a.json", '{"a": 1}'), ("a.yaml", "a: 1")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_file(tmp_path / name) == {"a": 1}


@pytest.mark.parametrize("name", ["empty.toml", "empty.yaml"])
def test_an_empty_file_says_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    assert read_file(tmp_path / name) == {}


DIGITS = b"1" * 5000
WRONG: list[tuple[str, bytes]] = [
    ("a.toml", b"workers = "),
    ("a.toml", b"workers = \xff\xfe"),
    ("a.toml", b"day = 2026-02-30\n"),
    ("a.toml", b"number = " + DIGITS),
    ("a.json", b""),
    ("a.json", b"{'a': 1}"),
    ("a.json", b'{"a": "\xff"}'),
    ("a.json", b'{"a": ' + DIGITS + b"}"),
    ("a.json", b"[" * 100_000),
    ("a.yaml", b"a: [1"),
    ("a.yaml", b"a: \xff"),
    ("a.yaml", b"a: \x01"),
    ("a.yaml", b"day: 2026-02-30\n"),
    ("a.yaml", b"number: " + DIGITS),
    ("a.yaml", b"a: !!python/object:os.system {}"),
    ("a.yaml", b"a: 1\n---\nb: 2\n"),
    ("a.yaml", b"? [a]\n: 1\n"),
]


@pytest.mark.parametrize(("name", "content"), WRONG, ids=lambda value: str(value[:24]))
def test_a_variable_file_that_cannot_be_read_is_the_users_mistake(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_file(tmp_path / name)
    assert str(tmp_path / name) in caught.value.what


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[1]", "holds no table of names and values"),
        ("a.yaml", "text", "holds no table of names and values"),
        ("a.yaml", "1: 2", "holds no table of names and values"),
        ("a.ini", "a=1", "a variable file ends in .toml, .json, .yaml or .yml"),
        ("a", "a=1", "a variable file ends in"),
    ],
)
def test_a_variable_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=words):
        read_file(tmp_path / name)


@pytest.mark.parametrize("name", ["nothing.toml", "."])
def test_a_variable_file_that_is_none_says_why(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot read the variable file") as caught:
        read_file(tmp_path / name)
    assert caught.value.why in ("No such file or directory", "Is a directory")
