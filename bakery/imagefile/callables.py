"""What may be marked: plain functions, and what is called like one. What would run nothing when called is refused."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from io import IOBase
from threading import Thread
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any, Final

from bakery.errors import ImagefileError, Location

DEEPEST: Final = 3
"""Collections in each other that are looked into; one may be in itself."""
WITHOUT_YIELD: Final = {
    "source": "return the source: `return Qemu(...)`",
    "image": "return the name: `return f'web-{v.release}'`",
    "test": "@pytest.mark.parametrize makes several tests of one function; set-up and tear-down belong into a fixture",
    "task": "write it without yield, and call m.run(...) for each thing that is to be done",
    "post": "write it without yield",
}


def check(kind: str, thing: Any, name: str, where: Location | None) -> None:
    """Refuse what cannot be marked, or would do nothing when it is called.

    Args:
        kind: the decorator.
        thing: what it was given.
        name: what to call it.
        where: its line.

    Raises:
        ImagefileError: with what to write instead.
    """
    if kind == "variables":
        if not isinstance(thing, type):
            raise ImagefileError(f"@bakery.variables got {name}, not a class", where=where, hint="class Vars: ...")
        return
    if isinstance(thing, type):
        raise ImagefileError(
            f"@bakery.{kind} got the class {name}, not a function",
            where=where,
            hint="the methods of a class are not collected: write functions" if kind == "test" else "write a function",
        )
    if not callable(thing):
        raise _not_callable(kind, thing, where)
    call = _plain(thing)
    if inspect.iscoroutinefunction(call):
        raise ImagefileError(
            f"{kind} {name} is an async function, which nothing would await",
            where=where,
            hint=f"write `def {name}(...)`, and asyncio.run(...) in it around what has to be awaited",
        )
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise ImagefileError(
            f"{kind} {name} is a generator: it has a yield, and a call would run none of it",
            where=where,
            hint=WITHOUT_YIELD[kind],
        )
    if kind == "test" and isinstance(call, FunctionType) and call.__name__ == "<lambda>":
        raise ImagefileError(
            "a test cannot be a lambda, which has no assert", where=where, hint="def works(host): assert ..."
        )


def _plain(thing: Any) -> Any:
    """Return the function inside a partial, a static method, or an object with `__call__`."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    if isinstance(thing, staticmethod):
        return thing.__func__
    return thing if inspect.isroutine(thing) else type(thing).__call__


def _not_callable(kind: str, thing: Any, where: Location | None) -> ImagefileError:
    if isinstance(thing, classmethod | property):
        what = "class method" if isinstance(thing, classmethod) else "property"
        return ImagefileError(f"@bakery.{kind} got a {what}, not a function", where=where, hint="write a function")
    return ImagefileError(
        f"@bakery.{kind} got a {type(thing).__name__}, not a function",
        where=where,
        hint=f"write @bakery.{kind} or @bakery.{kind}(name=value, ...); all arguments go by name",
    )


def refuse_unfinished(kind: str, name: str, result: Any, where: Location) -> None:
    """Refuse a result that shows that the function's work was not done: a coroutine, a generator, another function.

    A wrapper around a function may return one, so that it is only known afterwards.

    Args:
        kind: the decorator.
        name: the function's.
        result: what it returned.
        where: its line.

    Raises:
        ImagefileError: with what to write instead.
    """
    for each, told, is_near in _parts(result):
        what, hint = _unfinished(each) if is_near or isinstance(each, Awaitable) else ("", "")
        if what:
            if isinstance(each, CoroutineType):
                each.close()  # or Python complains of it later
            raise ImagefileError(f"{kind} {name} returns {told}, {what}", where=where, hint=hint)


def _parts(result: Any, within: str = "", depth: int = DEEPEST) -> Iterator[tuple[Any, str, bool]]:
    """Yield a result, and what is in it where it is a collection, each with what it is called, and whether it is near.

    A function that is deep in some data is data; a coroutine is nowhere.
    """
    kind = type(result).__name__
    yield result, f"{within} with a {kind} in it" if within else f"a {kind}", depth >= DEEPEST - 1
    if depth and isinstance(result, list | tuple | set | frozenset | dict):
        parts: list[Any] = list(result.values() if isinstance(result, dict) else result)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  the user's
        for part in parts:
            yield from _parts(part, within or f"a {kind}", depth - 1)


def _unfinished(result: Any) -> tuple[str, str]:
    """Return what is wrong with a result, and what to write instead; nothing where it is none of these."""
    if isinstance(result, Awaitable | AsyncIterator | AbstractAsyncContextManager):
        return "which nobody awaits: nothing of it has run", "asyncio.run(...) runs it to its end"
    if isinstance(result, Iterator) and not isinstance(result, IOBase):
        return "which nobody iterates: nothing of it has run", "use a for loop"
    if isinstance(result, AbstractContextManager) and isinstance(getattr(result, "gen", None), GeneratorType):
        return "which nobody enters: nothing of it has run", "write `with ...:`"
    if isinstance(result, Thread) and result.ident is None:
        return "which nobody starts: nothing of it has run", "thread.start()"
    if inspect.isroutine(result) or isinstance(result, functools.partial):
        return "which nobody calls", "a function that makes such functions has no mark itself: mark what it returns"
    futures = sys.modules.get("concurrent.futures")
    if futures is not None and isinstance(result, futures.Future):
        return "whose work may still go on", "wait for it: future.result()"
    return "", ""
