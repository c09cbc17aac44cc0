"""The shape of the code: who may import whom, how long a file and a function may be, what users see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bakery
import bakery.drivers

ROOT = Path(bakery.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ORDER = ["model", "journal", "scope", "build", "run", "cli"]
"""Each may import those to its left, none to its right."""
SHARED = {"drivers", "reporters", "transport", "base", "disk", "hygiene", "smoke", "cache"}
"""Folders whose code must not know the life of a build."""
ABOVE = {"scope", "build", "run", "cli", "phases", "course", "context", "gc"}


def imports(file: Path, *, at_import: bool = False) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if at_import else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def part_of(module: str) -> str:
    words = module.split(".")
    return words[1] if words[0] == "bakery" and len(words) > 1 else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_downwards(file: Path) -> None:
    own = file.relative_to(ROOT).parts[0].removesuffix(".py")
    used = {part_of(module) for module in imports(file)}
    if own in ORDER:
        above = set(ORDER[ORDER.index(own) + 1 :])
        assert not used & above
    if own in SHARED:
        assert not used & ABOVE
    if own not in ("cli", "__main__"):
        assert "cli" not in used


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long_to_be_read(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            doc = ast.get_docstring(node, clean=False)
            assert length - len((doc or "").splitlines()) <= 60, f"{node.name} has {length} lines"


def test_an_editor_shows_what_users_import_and_nothing_else() -> None:
    assert dir(bakery) == sorted(bakery.__all__)
    assert dir(bakery.drivers) == sorted(bakery.drivers.__all__)
    for name in bakery.__all__:
        assert getattr(bakery, name) is not None
    for name in bakery.drivers.__all__:
        assert getattr(bakery.drivers, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tsak'"):
        bakery.tsak  # noqa: B018  reading it is the test


def test_no_provider_library_is_loaded_by_the_package() -> None:
    for file in FILES:
        for module in imports(file, at_import=True):
            if module.split(".")[0] in ("boto3", "botocore", "openstack"):
                pytest.fail(f"{file.relative_to(ROOT)} imports {module} when it is imported")


def test_the_public_names_are_in_the_reference() -> None:
    reference = (ROOT.parent / "docs" / "reference.md").read_text(encoding="utf-8")
    for name in bakery.__all__:
        if name in ("Host", "Hygiene"):
            continue  # testinfra's own, and documented under its home's name
        assert f".{name}\n" in reference, f"{name} is not in docs/reference.md"
