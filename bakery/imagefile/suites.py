"""The user's own pytest suites in `tests=[...]`: folders, files and node ids, looked at when the imagefile is read.

What pytest would make of them is known to pytest alone. Here is said, with file and line, what surely is not there.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from bakery.errors import ImagefileError, Location
from bakery.imagefile.user_code import repr_of
from bakery.util.suggestions import did_you_mean
from bakery.util.syntax import parse

OtherHosts: TypeAlias = Literal["refuse", "run", "skip"]
"""What becomes of tests in suites whose `testinfra_hosts` name other hosts than the machine under test."""
_DYNAMIC: Final = ("exec", "eval", "globals", "setattr", "vars")
"""What makes names that cannot be read off a file."""


@dataclass(frozen=True, kw_only=True)
class Suites:
    """How the pytest suites of an image run: what `tests=["tests/"]` names.

    Args:
        hosts: names or globs: what in a module's `testinfra_hosts` means the machine under test, beside the image's
            own names: `["app-*", "docker://debian"]`. A name alone stands for it with any backend and user.
        other_hosts: what happens to tests of other hosts: `refuse` is an error when they are collected, `skip` skips
            them, `run` lets testinfra connect to them, as in a plain run.
        user: who commands run as: `root`, or `login` for whoever logs in, as in a plain run.
        login_shell: True runs them in that user's login shell, as sshd does; False in `/bin/sh`.
        strict_host: True puts testinfra's known wrong answers right, as in tests of the imagefile.
    """

    hosts: tuple[str, ...] = ()
    other_hosts: OtherHosts = "refuse"
    user: Literal["root", "login"] = "root"
    login_shell: bool = True
    strict_host: bool = False


def is_suite(thing: object, folder: Path) -> bool:
    """Say whether a member of `tests=` names a suite: a path, or text that looks like one or is one.

    Args:
        thing: the member.
        folder: the imagefile's.
    """
    if isinstance(thing, os.PathLike):
        return True
    if not isinstance(thing, str) or not thing.strip():
        return False
    path, _, node = thing.partition("::")
    return bool(node) or "/" in path or path.endswith(".py") or (folder / path).exists()


def suites_of(image: str, members: Iterable[Any], folder: Path, where: Location) -> tuple[str, ...]:
    """Return the suites among the members of `tests=`, as pytest takes them.

    Args:
        image: the image's name, for messages.
        members: what `tests=` holds.
        folder: the imagefile's: paths are relative to it.
        where: the image's line.

    Raises:
        ImagefileError: a path or a node id is not there, or is named twice.
    """
    suites: list[str] = []
    for suite in (os.fspath(member) for member in members if is_suite(member, folder)):
        check(suite, folder, f"tests= of image {image}", where)
        if suite in suites:
            raise ImagefileError(f"tests= of image {image} names {repr_of(suite)} twice", where=where)
        suites.append(suite)
    return tuple(suites)


def check(suite: str, folder: Path, who: str, where: Location | None = None) -> None:
    """Look for what a suite names: the path, and the class and function of a node id.

    Args:
        suite: `tests/`, `tests/test_web.py`, `tests/test_web.py::TestNginx::test_runs`.
        folder: what its path is relative to.
        who: names it, for messages.
        where: the line that names it.

    Raises:
        ImagefileError: it is not there.
    """
    name, *nodes = suite.partition("[")[0].split("::")  # the name of a case may hold anything
    path = folder / name
    if not path.exists():
        raise ImagefileError(
            f"{who} names {repr_of(name)}, and there is no such file or folder",
            why=f"it is looked for in {folder}",
            hint=did_you_mean(Path(name).name, _beside(path)),
            where=where,
        )
    if nodes and path.is_dir():
        raise ImagefileError(f"{who} names {repr_of(suite)}, and {name} is a folder", where=where)
    if nodes and path.suffix == ".py":
        _check_nodes(suite, path, [node for node in nodes if node], who, where)


def _beside(path: Path) -> list[str]:
    try:
        return sorted(each.name for each in path.parent.iterdir())
    except OSError:
        return []


def _check_nodes(suite: str, path: Path, nodes: Sequence[str], who: str, where: Location | None) -> None:
    """Look for classes and functions one inside the other, as long as the file alone says what there is."""
    try:
        body: Sequence[ast.stmt] = parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError) as error:
        raise ImagefileError(
            f"{who} names {repr_of(suite)}, which cannot be read", why=str(error), where=where
        ) from error
    except SyntaxError as error:
        raise ImagefileError(
            f"syntax error: {error.msg}", why=(error.text or "").strip(), where=Location(path, error.lineno or 1)
        ) from error
    for node in nodes:
        names = dict(_names(body))
        if node in names:
            definition = names[node]
            if not isinstance(definition, ast.ClassDef) or definition.bases or definition.keywords:
                return  # the rest comes from elsewhere, or is pytest's matter
            body = definition.body
        elif "*" in names:
            return
        else:
            raise ImagefileError(
                f"{who} names {repr_of(suite)}, and {path.name} has no {node}",
                hint=did_you_mean(node, names, otherwise="there are"),
                where=where,
            )


def _names(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what statements bind, at any depth but inside of functions and classes; `*` for what cannot be told."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, statement
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                yield from ((alias.asname or alias.name.partition(".")[0], statement) for alias in aliases)
            case _:
                yield from ((name, statement) for name in _bound(statement))
                for field in ("body", "orelse", "finalbody"):
                    yield from _names(getattr(statement, field, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _names(handler.body)


def _bound(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                yield node.id
            elif node.id in _DYNAMIC:
                yield "*"
