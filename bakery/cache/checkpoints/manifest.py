"""What is written about a checkpoint: read as a whole, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bakery.cache.inputs.digest import of_json
from bakery.model import Json

FILE: Final = "manifest.json"
VERSION: Final = 1
FIELDS: Final[Mapping[str, type]] = {
    "checkpoint": dict,
    "made": float,
    "boot": str,
    "flushed": bool,
    "inventory": str,
    "size": int,
    "stands_on": list,
    "needs": dict,
}
KNOWN: Final[Mapping[str, type]] = {"driver": str, "warm": bool, "settings": dict}
"""What is read of the checkpoint in it."""


def encode(data: Mapping[str, Json]) -> str:
    """Return a manifest as text, with its checksum."""
    whole = {"version": VERSION, **data}
    return json.dumps({**whole, "sum": of_json(whole)})


def decode(text: bytes) -> dict[str, Any] | None:
    """Read a manifest; None where it is damaged, or of another version."""
    data = _object(text)
    if data is None or data.get("version") != VERSION:
        return None
    said = data.pop("sum", None)  # bakery 0.1 wrote none at first
    if said is not None and said != of_json(data):
        return None
    return data if _has(data, FIELDS) and _has(data["checkpoint"], KNOWN) else None


def is_of_another_version(text: bytes) -> bool:
    """Say whether another version of bakery wrote a manifest: only that one knows whether it is damaged."""
    version = (_object(text) or {}).get("version")
    return isinstance(version, int) and version != VERSION


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _has(data: Mapping[str, Any], fields: Mapping[str, type]) -> bool:
    return all(isinstance(data.get(name), kind) for name, kind in fields.items())
