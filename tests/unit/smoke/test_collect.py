from __future__ import annotations

import inspect
from typing import Any

import pytest

from bakery.errors import ImagefileError
from bakery.smoke.collect import adapt

FIXTURES = {"tmp_path", "monkeypatch", "host", "v", "v2"}


def names(function: Any) -> list[str]:
    return list(inspect.signature(adapt(function, FIXTURES.__contains__)).parameters)


def plain(host: Any, v: Any) -> Any:
    return host, v


def other(machine: Any, values: Any) -> Any:
    return machine, values


def one(h: Any) -> Any:
    return h


def mixed(tmp_path: Any, h: Any, monkeypatch: Any, w: Any) -> Any:
    return tmp_path, h, monkeypatch, w


@pytest.mark.parametrize("port, name", [(80, "x")])  # noqa: PT006  the form under test
def cases(h: Any, port: Any, name: Any, w: Any) -> Any:
    return h, port, name, w


def three(h: Any, w: Any, unknown: Any) -> Any:
    return h, w, unknown


def default(h: Any, w: Any, limit: int = 3) -> Any:
    return h, w, limit


def test_a_function_with_our_names_is_left_alone() -> None:
    assert adapt(plain, FIXTURES.__contains__) is plain


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (other, ["host", "v"]),
        (one, ["host"]),
        (mixed, ["tmp_path", "host", "monkeypatch", "v"]),
        (cases, ["host", "port", "name", "v"]),
        (three, ["host", "v", "unknown"]),
        (default, ["host", "v"]),
    ],
)
def test_arguments_that_are_no_fixtures_become_host_and_variables(function: Any, expected: list[str]) -> None:
    assert names(function) == expected


def test_an_adapted_function_is_called_with_the_users_names() -> None:
    assert adapt(mixed, FIXTURES.__contains__)(tmp_path=1, host=2, monkeypatch=3, v=4) == (1, 2, 3, 4)
    assert adapt(default, FIXTURES.__contains__)(host=1, v=2) == (1, 2, 3)


def test_marks_and_place_survive() -> None:
    adapted = adapt(cases, FIXTURES.__contains__)
    assert adapted.pytestmark == cases.pytestmark  # type: ignore[attr-defined]  # pytest sets it
    assert inspect.unwrap(adapted) is cases


@pytest.mark.parametrize("function", [lambda v, host: (v, host), lambda v: v, lambda h, host: (h, host)])
def test_names_in_the_wrong_order_are_an_error(function: Any) -> None:
    with pytest.raises(ImagefileError, match="wrong order"):
        adapt(function, FIXTURES.__contains__)
