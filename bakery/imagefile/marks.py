"""What a decorator leaves on a function, and what can be told of a function that carries it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, MappingProxyType, MethodType
from typing import Any, Final, Literal, TypeAlias

from bakery.errors import Location
from bakery.imagefile.user_code import called_from, lines_up_to_import

MARK = "__bakery__"
NOWHERE: Final = Location(Path("?"), 0)
Kind = Literal["source", "task", "test", "post", "image", "variables"]
Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a decorator leaves on a function: its kind, where it stands, and the decorator's own arguments.

    Args:
        kind: the decorator.
        where: the line of the function; of the call where something else was marked.
        name: `name=`.
        alias: the name under which the imagefile holds it, where that is not the function's own.
        options: the decorator's other arguments.
        token: this very mark; copies of it (`functools.wraps` makes some) share it.
    """

    kind: Kind
    where: Location
    name: str = ""
    alias: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token: object = field(default_factory=object, repr=False, compare=False)


@dataclass(frozen=True)
class NewMark:
    """A mark that was made while an imagefile was read.

    Args:
        thing: what carries it.
        mark: the mark.
        lines: the lines of the user's code that led to it, the innermost first, up to an import.
    """

    thing: Any
    mark: Mark
    lines: tuple[Location, ...]


_LISTENING: ContextVar[list[NewMark] | None] = ContextVar("bakery_marks", default=None)


@contextmanager
def listening() -> Generator[list[NewMark]]:
    """Collect the marks that are made in the block, in order."""
    marks: list[NewMark] = []
    token = _LISTENING.set(marks)
    try:
        yield marks
    finally:
        _LISTENING.reset(token)


def mark_of(thing: object) -> Mark | None:
    """Return the mark of a decorated function or class; not what an object has from its class."""
    if type(thing) is MethodType:  # a lazy proxy would be asked by `isinstance`, and may answer anything
        thing = thing.__func__
    try:
        own = object.__getattribute__(thing, "__dict__")
    except (AttributeError, TypeError):
        return None
    mark = own.get(MARK) if isinstance(own, dict | MappingProxyType) else None
    return mark if isinstance(mark, Mark) else None


def function_in(thing: Any) -> Any:
    """Return the function that is run in the end: inside a partial, a bound method, an object with `__call__`."""
    while True:
        match thing:
            case functools.partial():
                thing = thing.func
            case MethodType() | staticmethod():
                thing = thing.__func__
            case _ if not inspect.isroutine(thing) and not isinstance(thing, type) and callable(thing):
                call = type(thing).__call__
                return call if inspect.isfunction(call) else thing
            case _:
                return thing


def name_of(thing: Any) -> str:
    """Return what a marked function is called: `name=`, its name in the imagefile, its own."""
    mark = mark_of(thing)
    return (mark.name or mark.alias if mark else "") or own_name(thing)


def own_name(thing: Any) -> str:
    """Return the name that a function was defined under, also inside a partial or a method; else its class."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    name = getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__


def doc_of(thing: Any) -> str:
    """Return the first line of a function's docstring."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    doc = getattr(thing, "__doc__", None)
    return doc.strip().partition("\n")[0] if isinstance(doc, str) else ""


def location_of(thing: Any) -> Location:
    """Return where a function or class is defined; where it was marked, for what has no line of its own."""
    mark = mark_of(thing)
    return mark.where if mark is not None else place_of(thing) or called_from() or Location(Path("?"), 0)


def place_of(thing: Any) -> Location | None:
    """Return the line of a definition; None for what has none of its own, as a partial or an object."""
    if isinstance(thing, functools.partial) or (not inspect.isroutine(thing) and not isinstance(thing, type)):
        return None
    try:
        code = getattr(inspect.unwrap(function_in(thing)), "__code__", None)
        if isinstance(code, CodeType):
            return Location(Path(code.co_filename), code.co_firstlineno)
        return Location(Path(inspect.getsourcefile(thing) or "?"), inspect.getsourcelines(thing)[1])
    except (OSError, TypeError, ValueError):  # made at run time; a ring of wrappers
        return None


def give_alias(thing: Any, alias: str) -> None:
    """Remember the name under which the imagefile holds something."""
    mark = mark_of(thing)
    if mark is not None and mark.alias != alias and not isinstance(thing, MethodType):
        setattr(thing, MARK, replace(mark, alias=alias))


def note(thing: Any, mark: Mark) -> None:
    """Tell whoever is listening of a mark that was just made."""
    if (marks := _LISTENING.get()) is not None:
        marks.append(NewMark(thing, mark, tuple(lines_up_to_import())))
