"""A Secret never becomes text by accident."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from bakery.errors import ImagefileError
from bakery.redaction.secret import Secret

LEAKS: dict[str, Callable[[Any], object]] = {
    "str": str,
    "format": lambda s: f"{s}",
    "format with a width": lambda s: f"{s:>20}",
    "percent": lambda s: "%s" % s,  # noqa: UP031  one of the ways that must fail
    "add": lambda s: s + "x",
    "radd": lambda s: "x" + s,
    "multiply": lambda s: s * 2,
    "join": lambda s: "-".join(iter([s])),
    "iterate": list,
    "length": len,
    "index": lambda s: s[0],
    "contains": lambda s: "x" in s,
    "bytes": bytes,
    "order": lambda s: s < "x",
    "path": open,
    "pickle": pickle.dumps,
    "json": json.dumps,
    "json by str": lambda s: json.dumps(s, default=str),
    "print": print,
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
def test_every_way_to_become_text_is_refused(leak: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as caught:
        leak(Secret("hunter2hunter2", "password"))
    assert "hunter2" not in str(caught.value)


def test_the_refusal_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"Secret\('password'\).*\.map\(fn\).*input=.*write\(\)"):
        str(Secret("hunter2", "password"))


def test_its_representation_is_the_name() -> None:
    assert repr(Secret("hunter2", "password")) == "Secret('password')"


def test_reveal_returns_the_text() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_map_derives_a_secret_of_the_same_name() -> None:
    derived = Secret("hunter2", "password").map(lambda text: f"root:{text}")
    assert derived.reveal() == "root:hunter2"
    assert derived.name == "password"


def test_map_refuses_what_is_not_text() -> None:
    mistake: Any = str.encode
    with pytest.raises(TypeError, match="must return a str, not bytes"):
        Secret("hunter2").map(mistake)


def test_a_watcher_sees_those_derived_before_and_after() -> None:
    secret = Secret("hunter2")
    before = secret.map(str.upper)
    seen: list[str] = []
    secret.watch(lambda member: seen.append(member.reveal()))
    before.map(lambda text: text + "!")
    assert seen == ["hunter2", "HUNTER2", "HUNTER2!"]


def test_equal_secrets_are_equal_and_hash_alike() -> None:
    assert Secret("hunter2", "a") == Secret("hunter2", "b")
    assert len({Secret("hunter2"), Secret("hunter2")}) == 1
    assert Secret("hunter2") != Secret("hunter3")


def test_a_secret_never_equals_plain_text() -> None:
    assert Secret("hunter2") != "hunter2"


def test_copies_are_the_secret_itself() -> None:
    secret = Secret("hunter2")
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": secret})["a"] is secret


def test_an_empty_secret_is_false_and_allowed() -> None:
    assert not Secret("")
    assert Secret("hunter2")


@pytest.mark.parametrize("text", ["a", "abc", " abc \n"])
def test_a_value_too_short_to_be_redacted_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ImagefileError, match="too short") as caught:
        Secret(text, "pin")
    assert "abc" not in str(caught.value)


def test_only_text_makes_a_secret() -> None:
    mistake: Any = 1234
    with pytest.raises(TypeError, match="not of int"):
        Secret(mistake)
