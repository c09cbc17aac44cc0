"""Reading `events.jsonl` again: every other report can be made from it later, also after a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bakery import events as e
from bakery.model import from_json


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
        kind = _kinds_by_type().get(str(data.get("type"))) if isinstance(data, dict) else None
        return None if kind is None else from_json(kind, data)
    except ValueError:  # the line that was being written when the run died, or a damaged one
        return None


@cache
def _kinds_by_type() -> dict[str, type[e.Event]]:
    """Return the kinds of events by their names in JSON."""
    return {_type(kind): kind for kind in _kinds(e.Event)}


def _kinds(kind: type[e.Event]) -> Iterator[type[e.Event]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def _type(kind: type[e.Event]) -> str:
    """Return the name of a kind in JSON; the property needs no other field."""
    return object.__new__(kind).type
