"""Values as data: equal where they are equal, different where they are not, and a clear no where nobody can tell."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import json
import re
import socket
import threading
import types
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.cache.inputs.digest import Keyed, of_json
from bakery.cache.inputs.values import Unstable, Values, shown
from bakery.model import Json
from bakery.redaction.secret import Secret

ROOT = Path("/project")
KEYED = Keyed(b"key")


def named(thing: Any) -> Json:
    return ["named", getattr(thing, "__qualname__", repr(thing))]


def form(value: object, root: Path = ROOT) -> Json:
    return Values(KEYED, root, named).form(value)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.dates()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=80)
@given(plain)
def test_a_value_has_one_form_that_json_can_carry(value: object) -> None:
    whole = form(value)
    assert json.loads(json.dumps(whole)) == json.loads(json.dumps(form(value)))
    assert len(of_json(whole)) == 64


def typed(value: object) -> object:
    """A value beside which Python's 1 == 1.0 == True differ, as they do for a task; so do 0.0 and -0.0."""
    if isinstance(value, list | tuple):
        return type(value).__name__, [typed(item) for item in value]
    if isinstance(value, dict):
        return "dict", [(typed(key), typed(item)) for key, item in value.items()]
    return type(value).__name__, repr(value)


@settings(max_examples=80)
@given(plain, plain)
def test_forms_are_equal_where_values_are(one: object, other: object) -> None:
    assert (form(one) == form(other)) == (typed(one) == typed(other))


class Colour(enum.Enum):
    """Some values."""

    RED = 1
    BLUE = 2


class Word(str):
    """A text that is more."""

    __slots__ = ()


@dataclass
class Point:
    """Data."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list[str])


class Slotted:
    """An object without a dict."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Keyworded:
    """An object that says by itself what it is made of."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.scratch = object()

    def __reduce__(self) -> tuple[type, tuple[object]]:
        return Keyworded, (self.value,)


def greet(name: str, *, loud: bool = False) -> str:
    return f"{name}{'!' if loud else ''}"


DIFFERENT: list[tuple[object, object]] = [
    (1, True),
    (1, 1.0),
    (1, "1"),
    (0.0, -0.0),
    ("a", b"a"),
    ("a", Word("a")),
    (b"a", bytearray(b"a")),
    ([1, 2], (1, 2)),
    ([1, 2], [2, 1]),
    ([], None),
    ([[1], 2], [1, [2]]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1}, {"a": 2}),
    ({1}, frozenset({1})),
    ({1}, {2}),
    (range(3), range(4)),
    (slice(1), slice(2)),
    (1j, 2j),
    (Colour.RED, Colour.BLUE),
    (Point(1), Point(2)),
    (Point(1, tags=["a"]), Point(1, tags=["b"])),
    (Slotted(1), Slotted(2)),
    (Keyworded(1), Keyworded(2)),
    (Path("/a"), Path("/b")),
    (Path("/a"), "/a"),
    (re.compile("a"), re.compile("b")),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    (fractions.Fraction(1, 2), fractions.Fraction(1, 3)),
    (dt.date(2026, 1, 1), dt.date(2026, 1, 2)),
    (dt.timedelta(1), dt.timedelta(2)),
    (uuid.UUID(int=1), uuid.UUID(int=2)),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.deque([1]), collections.deque([2])),
    (collections.Counter("ab"), collections.Counter("abb")),
    (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    (functools.partial(greet, "a"), functools.partial(greet, "b")),
    (functools.partial(greet, loud=True), functools.partial(greet, loud=False)),
    (Point(1).__eq__, Point(2).__eq__),
    (Secret("correct horse"), Secret("battery staple")),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=lambda value: type(value).__name__)
def test_what_differs_for_a_task_differs_here(one: object, other: object) -> None:
    assert form(one) != form(other)
    assert form(one) == form(one)


EQUAL: list[tuple[Callable[[], object], str]] = [
    (lambda: {"b", "a", "c"}, "a set"),
    (lambda: frozenset({(1, 2), (0, 3)}), "a frozen set"),
    (lambda: Point(1, 2, ["a"]), "a dataclass"),
    (lambda: Slotted([1]), "slots"),
    (lambda: Keyworded("a"), "an object with a say"),
    (lambda: re.compile("a+"), "a pattern"),
    (lambda: functools.partial(greet, "a", loud=True), "a partial call"),
    (lambda: collections.defaultdict(list, a=[1]), "a mapping with a default"),
    (lambda: types.MappingProxyType({"a": 1}), "a mapping that cannot be changed"),
    (lambda: Secret("correct horse", "pw"), "a secret"),
    (lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "a date with a zone"),
]


@pytest.mark.parametrize(("make", "_name"), EQUAL, ids=lambda value: value if isinstance(value, str) else "")
def test_what_was_made_anew_is_the_same(make: Callable[[], object], _name: str) -> None:
    assert form(make()) == form(make())


def test_a_number_of_more_digits_than_python_writes_is_a_number_all_the_same() -> None:
    assert form(10**5000) == form(10**5000)
    assert len({of_json(form(number)) for number in (10**5000, 10**5000 + 1, -(10**5000))}) == 3
    assert (shown("huge", 10**5000), shown("numbers", [10**5000])) == ("", "")


def test_a_set_has_one_order_whatever_pythons_is() -> None:
    words = [f"word {number}" for number in range(50)]
    again = set[str]()
    for word in reversed(words):
        again |= {word}
    assert form(set(words)) == form(again)


def test_what_is_in_itself_ends() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    other: list[Any] = [1, [1]]
    other[1].append(other)
    assert form(loop) == form(loop)
    assert form(loop) != form(other)


def test_the_same_thing_twice_is_no_loop() -> None:
    part = [1]
    assert form([part, part]) == form([[1], [1]])


def test_a_path_in_the_project_is_the_same_in_every_checkout() -> None:
    assert form(Path("/project/a"), Path("/project")) == form(Path("/elsewhere/a"), Path("/elsewhere"))
    assert form(Path("/project/a"), Path("/project")) != form(Path("a"), Path("/project"))
    assert form(PurePosixPath("/project"), Path("/project")) == form(Path("/other"), Path("/other"))


def test_a_secret_leaves_no_trace_that_could_be_guessed() -> None:
    text = json.dumps(form({"password": Secret("hunter22")}))
    assert "hunter22" not in text
    assert text != json.dumps(Values(Keyed(b"other"), ROOT, named).form({"password": Secret("hunter22")}))


@pytest.mark.parametrize("thing", [greet, len, Point, json, Point(1).__class__])
def test_code_is_left_to_who_knows_it(thing: Any) -> None:
    assert form(thing) == named(thing)
    assert form([thing]) == ["list", [named(thing)]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: (number for number in range(0)),
        lambda: socket.socket.__new__(socket.socket),
        lambda: memoryview(b"a"),
        lambda: types.SimpleNamespace(inner=(number for number in range(0))),
    ],
    ids=["a generator", "a socket", "memory", "one inside"],
)
def test_what_cannot_be_compared_is_refused_with_its_kind(make: Callable[[], Any]) -> None:
    with pytest.raises(Unstable, match="has no content that could be compared"):
        form(make())


def test_a_file_in_memory_is_its_content_and_an_open_one_is_refused() -> None:
    assert form(io.StringIO("a")) == form(io.StringIO("a"))
    assert form(io.StringIO("a")) != form(io.StringIO("b"))
    with Path("/dev/null").open() as file, pytest.raises(Unstable, match=r"TextIOWrapper has no content"):
        form(file)


def test_locks_are_equal_for_nobody_asks_a_lock_what_it_is() -> None:
    assert form(threading.Lock()) == form(threading.Lock())
    assert form(Slotted(threading.RLock())) == form(Slotted(threading.RLock()))


# ---- what may be shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("workers", 8, "8"),
        ("greeting", "hello", "'hello'"),
        ("flag", None, "None"),
        ("ratio", 0.5, "0.5"),
        ("names", ["a", "b"], "['a', 'b']"),
        ("names", ("a", 1), "('a', 1)"),
        ("place", Path("/srv"), "'/srv'"),
        ("names", [Path("/srv")], "[PosixPath('/srv')]"),
        ("empty", [], "[]"),
        ("long", "x" * 100, ""),
        ("names", [["a"]], "[['a']]"),
        ("names", [object()], ""),
        ("data", {"a": 1}, ""),
        ("data", b"a", ""),
        ("password", "hunter22", ""),
        ("API_TOKEN", "x", ""),
        ("ssh_key", "x", ""),
        ("credentials", "x", ""),
        ("a_secret", 3, ""),
        ("pw", Secret("hunter22"), ""),
    ],
)
def test_a_short_plain_value_is_shown_unless_its_name_warns(name: str, value: object, text: str) -> None:
    assert shown(name, value) == text
