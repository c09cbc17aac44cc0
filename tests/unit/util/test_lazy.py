"""Public names are imported when they are first used, and only then."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bakery
import bakery.drivers
import bakery.publish
import bakery.testing

DOOR = """
from bakery.util.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__, {"Pizza": "parlour.oven", "oven": "parlour.oven", "Pasta": "parlour.oven"})
"""


@pytest.fixture
def parlour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package with a lazy door."""
    (tmp_path / "parlour").mkdir()
    (tmp_path / "parlour" / "__init__.py").write_text(DOOR)
    (tmp_path / "parlour" / "oven.py").write_text("class Pizza: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("parlour", "parlour.oven"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("parlour")


def test_a_name_is_imported_when_it_is_asked_for_and_stays(parlour: ModuleType) -> None:
    assert "parlour.oven" not in sys.modules
    pizza = parlour.Pizza
    assert pizza is sys.modules["parlour.oven"].Pizza
    assert vars(parlour)["Pizza"] is pizza


def test_a_module_of_the_door_is_itself(parlour: ModuleType) -> None:
    assert parlour.oven is sys.modules["parlour.oven"]


def test_an_editor_is_shown_the_names_and_nothing_is_imported_for_it(parlour: ModuleType) -> None:
    assert dir(parlour) == ["Pasta", "Pizza", "oven"]
    assert "parlour.oven" not in sys.modules


@pytest.mark.parametrize("name", ["Burger", "__wrapped__"])
def test_another_name_is_an_attribute_error_of_the_door(parlour: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module 'parlour' has no attribute '{name}'$"):
        getattr(parlour, name)


def test_a_name_that_its_home_does_not_have_is_an_error_of_the_home(parlour: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"parlour\.oven"):
        parlour.Pasta  # noqa: B018  reading it is the test


DOORS = [bakery, bakery.drivers, bakery.publish, bakery.testing]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_door_of_ours_has_all_that_it_lists(door: ModuleType) -> None:
    assert dir(door) == sorted(door.__all__)
    for name in door.__all__:
        assert getattr(door, name).__name__.rpartition(".")[2] == name
