"""What is wrong with a call that Python itself refuses: a keyword that is misspelt, an argument that is left out."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bakery.util.suggestions import did_you_mean

CALLED: Final = r"(?:\w+\.)*?(\w+?)(?:\.__init__)?\(\)"


@dataclass(frozen=True)
class LeftOut:
    """What a call of ours lacks, and what that should be."""

    what: str
    hint: str


def left_out(error: TypeError) -> LeftOut | None:
    """Say which arguments a call of something of bakery's lacks: `CloudImage("https://...")`; None for other calls."""
    match = re.match(CALLED + r" missing \d+ required [a-z-]+ arguments?: (.+)", str(error))
    if not match:
        return None
    called, names = match[1], re.findall(r"'(\w+)'", match[2])
    thing = _thing(called, error)
    if thing is None or getattr(thing, "__module__", "").split(".")[0] != "bakery":
        return None
    called = _written(thing, error) or called
    meanings = [f"{name}: {meaning}" for name in names if (meaning := _meaning(thing, name))]
    hint = "; ".join(meanings) or f"{called} takes: {', '.join(_parameters(thing))}"
    return LeftOut(f"{called} needs {' and '.join(f'{name}=' for name in names)}", hint)


def keyword_hint(error: TypeError) -> str:
    """Suggest the keyword that was meant: `@bakery.task(retires=2)`, `Qemu(memmory="2G")`; empty for other errors."""
    match = re.match(CALLED + r" got an unexpected keyword argument '(\w+)'", str(error))
    if not match:
        return ""
    called, wrong = match.groups()
    names = _keywords(called, error)
    return did_you_mean(wrong, names, otherwise=f"{called} takes", keyword=True) if names else ""


def _keywords(called: str, error: TypeError) -> list[str]:
    message = str(error)
    if "; it knows " in message:
        return message.rsplit("; it knows ", 1)[1].split(", ")
    thing = _thing(called, error)
    return _parameters(thing) if thing else []


def _parameters(thing: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(thing).parameters if name != "self"]


def _meaning(thing: Callable[..., object], name: str) -> str:
    """Return the first sentence that a docstring's Args say of an argument."""
    match = re.search(rf"^    {name}: (.+(?:\n {{8,}}.+)*)", inspect.getdoc(thing) or "", re.MULTILINE)
    return " ".join(match[1].split()).partition(". ")[0].rstrip(".") if match else ""


def _written(thing: Callable[..., object], error: TypeError) -> str:
    """Return the name that the caller's line has for it: of `Ubuntu()` Python tells the class that it inherits from."""
    if not isinstance(thing, type):
        return ""
    line = traceback.extract_tb(error.__traceback__)[-1].line or ""
    names: list[str] = re.findall(r"(\w+)\(", line)
    for name in names:
        known: object = next((space[name] for space in _callers(error) if name in space), None)
        if isinstance(known, type) and issubclass(known, thing):
            return name
    return ""


def _thing(called: str, error: TypeError) -> Callable[..., object] | None:
    """Return what was called: as the caller knows it by its name, or one of our modules does."""
    for space in (*_callers(error), *_modules()):
        thing: Callable[..., object] | None = space.get(called)
        if callable(thing):
            return thing
    return None


def _callers(error: TypeError) -> Iterator[Mapping[str, Any]]:
    """Yield the names known where the call was made, which never came as far as to have a frame of its own."""
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        yield frame.f_locals
        yield frame.f_globals


def _modules() -> Iterator[Mapping[str, Any]]:
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "") or ""
        if name.split(".")[0] == "bakery" or "imagefile_" in name:
            yield vars(module)
