"""The page on goss and InSpec: what it gives in their place is testinfra's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from testinfra.modules import get_module_class
from testinfra.modules.base import Module

PAGE = Path(__file__).parents[3] / "docs" / "from-goss-and-inspec.md"


def cells() -> list[str]:
    """The expressions in the right columns."""
    rows = re.findall(r"^\| .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row) if "host." in code and "..." not in code]


def questions(code: str) -> list[tuple[str, str]]:
    """Modules of testinfra's, and what is asked of them."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Attribute):
            continue
        value = node.value.func if isinstance(node.value, ast.Call) else node.value
        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "host":
            found.append((value.attr, node.attr))
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(cells()) > 50


@pytest.mark.parametrize("code", [code for code in cells() if not code.startswith("with ")])
def test_each_expression_is_python_and_each_question_one_of_testinfras(code: str) -> None:
    for module, asked in questions(code):
        if module in ("run", "sudo"):
            assert asked in ("rc", "stdout", "stderr")
            continue
        asked_of: type[Module] = get_module_class(module)
        assert hasattr(asked_of, asked), f"host.{module} has no {asked}"
