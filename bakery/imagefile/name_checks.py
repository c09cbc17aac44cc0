"""Variables that a function of the imagefile names, and that do not exist: found in its code before anything runs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from bakery.errors import ImagefileError, Location
from bakery.util.suggestions import did_you_mean
from bakery.util.syntax import parse

Functions = Iterable[tuple[Any, int]]


def check(functions: Functions, variables: type | None) -> None:
    """Look at each `v.NAME` of functions that get the variables.

    What is reached in other ways (`getattr`, a helper) is left to Python, and to type checkers.

    Args:
        functions: each with the number of its parameter that is the variables, from 0.
        variables: the class; None where there is none, and functions that want it are refused elsewhere.

    Raises:
        ImagefileError: there is no such variable; with the line that names it.
    """
    if variables is None:
        return
    trees: dict[str, Mapping[tuple[str, int], ast.FunctionDef]] = {}
    for function, place in functions:
        code = getattr(function, "__code__", None)
        if not isinstance(code, CodeType) or place >= code.co_argcount:
            continue
        if code.co_filename not in trees:
            trees[code.co_filename] = _functions(Path(code.co_filename))
        tree = trees[code.co_filename].get((function.__name__, code.co_firstlineno))
        for attribute in _named(tree, code.co_varnames[place]) if tree is not None else ():
            if not hasattr(variables, attribute.attr) and attribute.attr not in _fields(variables):
                raise _unknown(variables, attribute, Path(code.co_filename))


def _functions(file: Path) -> Mapping[tuple[str, int], ast.FunctionDef]:
    """All functions of a file, by name and first line: that of the first decorator, as in their code objects."""
    try:
        tree = parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):  # made at run time, or changed since: nothing to look at
        return {}
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {(node.name, min([node.lineno, *(d.lineno for d in node.decorator_list)])): node for node in functions}


def _named(tree: ast.FunctionDef, name: str) -> Iterator[ast.Attribute]:
    """Yield what is read of a parameter, unless the function gives its name another meaning somewhere."""
    inside = [node for statement in tree.body for node in ast.walk(statement)]
    bound = (node for node in inside if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    arguments = (node for node in inside if isinstance(node, ast.arg))
    if any(node.id == name for node in bound) or any(node.arg == name for node in arguments):
        return
    for node in inside:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node


def _fields(variables: type) -> set[str]:
    return {name for parent in variables.__mro__ for name in inspect.get_annotations(parent)}


def _unknown(variables: type, attribute: ast.Attribute, file: Path) -> ImagefileError:
    variable_names = sorted(name for name in _fields(variables) if not name.startswith("_"))
    return ImagefileError(
        f"there is no variable {attribute.attr!r}",
        where=Location(file, attribute.lineno),
        why=f"{ast.unparse(attribute)} is read here, and {variables.__name__} has no such field",
        hint=did_you_mean(attribute.attr, variable_names, otherwise="variables are"),
    )
