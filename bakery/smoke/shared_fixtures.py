"""Fixtures of a conftest.py beside the imagefile: for tests that ask for them, and only then is the file imported.

A project's conftest.py is often made for its own tests. So its hooks and its autouse fixtures do not act on images.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from bakery.imagefile.loader import import_module
from bakery.imagefile.marks import function_in
from bakery.util.syntax import parse

FILE: Final = "conftest.py"
PLUGINS: Final = "pytest_plugins"
"""A module's list of plugins, whose fixtures cannot be told before they are imported."""
_FIXTURE: Final = ("_pytest.fixtures", "FixtureFunctionDefinition")
"""The class of what `@pytest.fixture` makes, since pytest 8.4; told by its name, as pytest may not be imported yet."""


def shared_fixtures(
    folder: Path, hook: Any, wanted: Iterable[str], importing: Callable[[], AbstractContextManager[None]]
) -> Mapping[str, Any]:
    """Return the fixtures of a folder's conftest.py, by name; none where no wanted name is among them.

    Args:
        folder: the imagefile's.
        hook: what pytest imports test modules with.
        wanted: names that are no fixtures yet.
        importing: entered while the file is imported.

    Raises:
        ImagefileError: it cannot be imported.
    """
    file, asked = folder / FILE, set(wanted)
    names = _names(file) if file.is_file() else set[str]()
    if not ({"*", *asked} & names) and not (asked and PLUGINS in names):
        return {}
    with importing():
        module = import_module(file, hook, name="conftest")
    return {name: thing for name, thing in vars(module).items() if is_fixture(thing) and not _is_autouse(thing)}


def is_fixture(thing: object) -> bool:
    """Say whether an object is what `@pytest.fixture` makes of a function."""
    return (type(thing).__module__, type(thing).__name__) == _FIXTURE


def arguments(function: Callable[..., Any]) -> set[str]:
    """Return the names of what a test or a fixture asks for."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}


def wanted_names(functions: Iterable[Callable[..., Any]], module: ModuleType) -> set[str]:
    """Return all names that tests, and the fixtures of their module, ask for.

    Args:
        functions: the tests.
        module: the imagefile's.
    """
    names: set[str] = set()
    for function in functions:
        names |= {*arguments(function), *_used(getattr(function, "pytestmark", []))}
    for thing in vars(module).values():
        if is_fixture(thing):
            names |= arguments(thing)
    return names


def needed_fixtures(tests: Iterable[Callable[..., Any]], module: ModuleType) -> Iterator[Any]:
    """Yield the fixtures of a module that its tests use, by their arguments, by marks, or because they are automatic.

    Args:
        tests: the tests.
        module: where they stand.
    """
    known = {_fixture_name(thing, name): thing for name, thing in vars(module).items() if is_fixture(thing)}
    marks = getattr(module, "pytestmark", [])
    names = {name for name, thing in known.items() if _is_autouse(thing)}
    names |= {name for test in tests for name in {*arguments(test), *_used(getattr(test, "pytestmark", []))}}
    names |= _used(marks if isinstance(marks, list | tuple) else [marks])
    names |= {*known} if any(map(_asks_by_name, [*tests, *known.values()])) else set()
    done: set[str] = set()
    while more := names - done:
        done |= more
        names |= {name for each in more if each in known for name in arguments(known[each])}
    yield from (thing for name, thing in known.items() if name in done)


def _asks_by_name(function: Any) -> bool:
    """Say whether a test or a fixture asks for others while it runs, by `request.getfixturevalue("client")`."""
    code = getattr(function_in(inspect.unwrap(function)), "__code__", None)
    return code is None or "getfixturevalue" in code.co_names


def _fixture_name(fixture: Any, name: str) -> str:
    return getattr(getattr(fixture, "_fixture_function_marker", None), "name", None) or name


def _used(marks: Iterable[Any]) -> set[str]:
    """Return the names that `@pytest.mark.usefixtures` has among marks."""
    return {name for mark in marks if mark.name == "usefixtures" for name in mark.args}


def _is_autouse(fixture: Any) -> bool:
    return bool(getattr(getattr(fixture, "_fixture_function_marker", None), "autouse", False))


def _names(file: Path) -> set[str]:
    """Return what may be fixtures in a file, without importing it; `*` where that cannot be told."""
    try:
        tree = parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {"*"}  # Python will say what is wrong with it
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = " ".join(map(ast.unparse, node.decorator_list))
            names |= {node.name, *_given_names(node)} if "fixture" in text else set()
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and node.id == PLUGINS:
            names.add(PLUGINS)
    return names


def _given_names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Read `@pytest.fixture(name="client")`."""
    calls = [decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    values = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "name"]
    return {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}
