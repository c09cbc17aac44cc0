from __future__ import annotations

import sys
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from bakery.smoke.shared_fixtures import is_fixture, needed_fixtures


@pytest.fixture
def plain() -> int:
    return 1


@pytest.fixture(name="renamed")
def by_another_name(deep: int) -> int:
    return deep


@pytest.fixture
def deep() -> int:
    return 2


@pytest.fixture
def unused(request: pytest.FixtureRequest) -> object:
    return getattr(request, "param", None)


def by_argument(host: Any, renamed: int) -> None: ...
def by_position(host: Any) -> None: ...
@pytest.mark.usefixtures("plain")
def by_mark(host: Any) -> None: ...
def by_request(host: Any, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("plain")


def module(**more: Any) -> ModuleType:
    own = ModuleType("imagefile")
    vars(own).update({name: thing for name, thing in vars(sys.modules[__name__]).items() if is_fixture(thing)}, **more)
    return own


@pytest.mark.parametrize(
    ("test", "names"),
    [
        (by_argument, {"by_another_name", "deep"}),
        (partial(by_argument, host=1), {"by_another_name", "deep"}),
        (by_position, set()),
        (by_mark, {"plain"}),
        (by_request, {"plain", "by_another_name", "deep", "unused"}),
    ],
)
def test_the_fixtures_of_a_test_are_those_that_it_asks_for_by_any_way(test: Any, names: set[str]) -> None:
    assert {thing.__name__ for thing in needed_fixtures([test], module())} == names


def test_automatic_fixtures_and_marks_of_the_module_are_every_tests() -> None:
    @pytest.fixture(autouse=True)
    def always(deep: int) -> int:
        return deep

    needed = needed_fixtures([by_position], module(always=always, pytestmark=pytest.mark.usefixtures("plain")))
    assert {thing.__name__ for thing in needed} == {"always", "deep", "plain"}


def test_a_fixture_that_asks_for_others_by_name_may_ask_for_any() -> None:
    @pytest.fixture(autouse=True)
    def asking(request: pytest.FixtureRequest) -> object:
        return request.getfixturevalue("plain")

    assert len([*needed_fixtures([by_position], module(asking=asking))]) == 5
