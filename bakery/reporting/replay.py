"""Reading `events.jsonl` again: every other report can be made from it later, also after a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from functools import cache
from pathlib import Path
from typing import Any

from bakery import events as e


def events(path: Path) -> Iterator[e.Event]:
    """Yield the events of a file. A torn or damaged line and events of a later version are left out.

    Raises:
        FileNotFoundError: there is none.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            event = event_of(line)
            if event is not None:
                yield event


def event_of(line: str) -> e.Event | None:
    """Return the event on a line; None where a crash, a fault of the disk or a later version left no event there."""
    try:
        data = json.loads(line)
    except json.JSONDecodeError:
        return None  # the line that was being written when the run died
    kind = _kinds_by_type().get(str(data.get("type"))) if isinstance(data, dict) else None
    if kind is None or any(_needed(field) and field.name not in data for field in fields(kind)):
        return None
    return kind(**_arguments(kind, data))


def _needed(field: Field[Any]) -> bool:
    """Say whether a kind cannot be made without this field."""
    return field.default is MISSING and field.default_factory is MISSING


@cache
def _kinds_by_type() -> dict[str, type[e.Event]]:
    """Return the kinds of events by their names in JSON."""
    return {_type(kind): kind for kind in _kinds(e.Event)}


def _kinds(kind: type[e.Event]) -> Iterator[type[e.Event]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def _type(kind: type[e.Event]) -> str:
    """The name of a kind in JSON; the property needs no other field."""
    return object.__new__(kind).type


def _arguments(kind: type[e.Event], data: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known}
