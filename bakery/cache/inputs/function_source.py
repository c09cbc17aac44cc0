"""A function's source, free of comments, layout and docstrings, and sure to be what runs."""

from __future__ import annotations

import ast
import copy
import dis
import io
import itertools
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import TypeVar

from bakery.model import Json
from bakery.util.syntax import parse

T = TypeVar("T")
_Place = tuple[str, int]


class Sources:
    """Source files, parsed once.

    The file may have been edited since it was imported. So a function's syntax tree is only used where compiling the
    file gives the very code that runs; else the byte code itself stands for it.

    Args:
        docs: True where docstrings count, because somebody reads them.
    """

    def __init__(self, *, docs: bool = False) -> None:
        self._docs = docs
        self._files: dict[str, _Parsed] = {}

    def form(self, code: CodeType) -> Json:
        """Return data that is equal for functions that do the same, whatever their comments and their place."""
        file = self._file(code.co_filename)
        place = (code.co_name, code.co_firstlineno)
        if file.codes.get(place) == code and place in file.nodes:
            return ["source", file.text(place)]
        return self._bytecode(code)

    def _bytecode(self, code: CodeType) -> Json:
        nested = [self._bytecode(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
        names: list[Json] = [*code.co_names, *code.co_varnames, "|", *code.co_freevars, "|", *code.co_cellvars]
        counts: list[Json] = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
        table = getattr(code, "co_exceptiontable", b"")
        return ["code", code.co_code.hex(), table.hex(), names, counts, nested]

    def _file(self, name: str) -> _Parsed:
        if name not in self._files:
            try:
                self._files[name] = _parse(name, Path(name).read_bytes(), docs=self._docs)
            except (OSError, SyntaxError, ValueError):
                self._files[name] = _Parsed({}, {})  # gone, or being edited: the byte code stands for it
        return self._files[name]


FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_Node = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class _Parsed:
    """A source file's functions, by place: their trees, what they compile to, and the texts of trees once asked for."""

    nodes: dict[_Place, _Node]
    codes: dict[_Place, CodeType]
    _texts: dict[_Place, str] = field(default_factory=dict[_Place, str])

    def text(self, place: _Place) -> str:
        if place not in self._texts:
            self._texts[place] = text_of(_bare(self.nodes[place]))
        return self._texts[place]


@lru_cache(maxsize=64)
def _parse(name: str, data: bytes, *, docs: bool) -> _Parsed:
    """Parse a source file; one of the same content is not parsed again for the next build.

    Raises:
        SyntaxError: it is none.
        ValueError: it is no text.
    """
    text = data.decode(tokenize.detect_encoding(io.BytesIO(data).readline)[0])
    tree = parse(text, name)
    compiled = compile(text, name, "exec", dont_inherit=True)
    codes = _unique((code.co_name, code.co_firstlineno, code) for code in _codes(compiled))
    nodes = _unique((node.name, _first_line(node), node) for node in ast.walk(tree) if isinstance(node, FUNCTION))
    if not docs:
        _strip_docstrings(tree)
    return _Parsed(nodes, codes)


def _bare(node: _Node) -> _Node:
    """Return the function alone: its decorators have acted already, and its name does nothing."""
    bare = copy.copy(node)
    bare.decorator_list, bare.name = [], "_"
    return bare


def text_of(tree: object) -> str:
    """Return a syntax tree as text that every Python gives alike, so that a newer one runs no step again.

    `ast.dump` does not: 3.12 gave functions a field more, 3.13 leaves out what is empty, and the `repr` of a text
    depends on the version of Unicode.
    """
    if isinstance(tree, ast.Constant):
        return f"{type(tree.value).__name__} {tree.value!a}"
    if isinstance(tree, list):
        return f"[{', '.join(map(text_of, tree))}]"
    if isinstance(tree, ast.AST):
        fields = ast.iter_fields(tree)
        if isinstance(tree, ast.JoinedStr):  # 3.12.1 puts an empty text behind a format such as {name:{width}}
            fields = iter([("values", [part for part in tree.values if getattr(part, "value", None) != ""])])
        said = (f"{name}={text_of(value)}" for name, value in fields if value is not None and value != [])
        return f"{type(tree).__name__}({', '.join(said)})"
    return ascii(tree)


def _strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (*FUNCTION, ast.ClassDef)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]


def _first_line(node: _Node) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _unique(items: Iterable[tuple[str, int, T]]) -> dict[_Place, T]:
    """By name and line; two that share both cannot be told apart and are left out."""
    by_place: dict[_Place, T] = {}
    twice: set[_Place] = set()
    for name, line, item in items:
        if (name, line) in by_place:
            twice.add((name, line))
        by_place[name, line] = item
    return {place: item for place, item in by_place.items() if place not in twice}


def _codes(code: CodeType) -> Iterator[CodeType]:
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield item
            yield from _codes(item)


def _constant(value: object) -> Json:
    """Return a constant of byte code: only a few types occur, and sets have no order."""
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(repr(item) for item in value)]
    if isinstance(value, tuple):
        return ["tuple", [_constant(item) for item in value]]
    return [type(value).__name__, repr(value)]


@dataclass(frozen=True)
class Reference:
    """What byte code refers to outside itself.

    Args:
        name: a global name, or the module of an import.
        attributes: what is taken from it at once, one after the other; or the names that are imported.
        imported: True for an import inside the function.
        level: how many packages up a relative import starts.
    """

    name: str
    attributes: tuple[str, ...] = ()
    imported: bool = False
    level: int = 0


_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD"}


@lru_cache(maxsize=4096)
def references(code: CodeType) -> tuple[Reference, ...]:
    """Return what a function and those nested in it refer to, in order; attributes of other things are not names."""
    return tuple(_references(code))


def _references(code: CodeType) -> Iterator[Reference]:
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "NOP", "CACHE")]
    for index, step in enumerate(steps):
        if step.opname in _GLOBAL:
            chain = itertools.takewhile(lambda later: later.opname in _ATTRIBUTE, steps[index + 1 : index + 9])
            yield Reference(step.argval, tuple(later.argval for later in chain))
        elif step.opname == "IMPORT_NAME":
            level = steps[index - 2].argval if index > 1 else 0
            rest = steps[index + 1 :]
            imported = (later.argval for later in rest[: _imports(rest)] if later.opname == "IMPORT_FROM")
            yield Reference(step.argval, tuple(imported), imported=True, level=level if isinstance(level, int) else 0)
    for nested in code.co_consts:
        if isinstance(nested, CodeType):
            yield from _references(nested)


def _imports(steps: list[dis.Instruction]) -> int:
    """Say how many instructions after an import still belong to it: each name is loaded and stored."""
    for index, step in enumerate(steps):
        if not step.opname.startswith(("IMPORT_FROM", "STORE_")):
            return index
    return len(steps)
