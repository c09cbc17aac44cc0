"""What was meant is suggested in one way; where nothing is near, all names are told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bakery
from bakery.util.suggestions import did_you_mean, nearest

ROOT = Path(bakery.__file__).parent


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("wbe", ["db", "web"], "did you mean web?"),
        ("zebra", ["db", "web"], "there are: db, web"),
        ("zebra", [], "there are: none"),
        ("", ["db"], "there are: db"),
    ],
)
def test_the_nearest_name_is_suggested_or_all_are_told(name: str, known: list[str], hint: str) -> None:
    assert did_you_mean(name, known, otherwise="there are") == hint


def test_without_an_introduction_there_is_no_list() -> None:
    assert did_you_mean("zebra", ["web"]) == ""


def test_a_keyword_is_suggested_as_one() -> None:
    assert did_you_mean("retires", iter(["retries"]), keyword=True) == "did you mean retries= ?"


def test_the_nearest_of_several_is_taken() -> None:
    assert nearest("biuld", ["bulb", "build", "built"]) == "build"
    assert nearest("zebra", {"web"}) is None


def test_no_other_module_looks_for_near_names() -> None:
    """Else the sentence is soon spelt in eight ways again."""
    users = [
        str(file.relative_to(ROOT))
        for file in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "difflib" in (getattr(node, "module", None), *(alias.name for alias in node.names))
    ]
    assert users == ["util/suggestions.py"]
