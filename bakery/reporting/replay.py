"""Reading `events.jsonl` again: every other report can be made from it later, also after a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from bakery import events as e


def events(path: Path) -> Iterator[e.Event]:
    """Yield the events of a file. A torn last line and events of a later version are left out.

    Raises:
        FileNotFoundError: there is none.
    """
    kinds = {_type(kind): kind for kind in _kinds(e.Event)}
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                data = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that was being written when the run died
            kind = kinds.get(data.get("type"))
            if kind is not None:
                yield kind(**_arguments(kind, data))


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
