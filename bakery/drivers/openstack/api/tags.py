"""Marks on everything that we make: metadata where a service has them, else the description, else the name."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bakery.state.claim import Claim

RUN, BUILD, EXPIRES = "bakery:run", "bakery:build", "bakery:expires"
KEY = "bakery:key"
"""The name that we chose for this one thing; the record in the journal holds it too."""
STARTED = "bakery:started"
IMAGE = "bakery:image"
"""Only on kept images: the image's name in the imagefile."""
STEP = "bakery:step"
"""Only on checkpoints: the content key of the last step inside."""
NOTE = "bakery:note"
"""Only on checkpoints: what another host needs to know its steps again."""
TEMPORARY = (RUN, EXPIRES, KEY, STARTED)
"""What a kept image loses."""
RUN_ID = re.compile(r"bakery-([0-9]{8}-[0-9]{6}-[0-9a-f]+)-")
LONGEST = 255
"""Characters of a name, a description, a value of metadata."""


def new_key(claim: Claim) -> str:
    """Return a name that nothing else has; it begins with the run's."""
    return f"{claim.name[:180]}-{secrets.token_hex(4)}"


def temporary(claim: Claim, key: str) -> dict[str, str]:
    """Return the marks of something that must not stay."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    marks = {**claim.tags, KEY: key, STARTED: now}
    return {name: value[:LONGEST] for name, value in marks.items()}


def line(claim: Claim) -> str:
    """Return the marks as one line, for things that have nothing but a description."""
    return " ".join(f"{name}={claim.tags[name]}" for name in (RUN, EXPIRES, BUILD) if name in claim.tags)[:LONGEST]


def read_line(text: str | None) -> dict[str, str]:
    """Read such a line."""
    pairs = (word.partition("=") for word in (text or "").split() if word.startswith("bakery:"))
    return {name: value for name, _, value in pairs}


def of(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the marks of anything that a service described."""
    found = {**read_line(item.get("description")), **(item.get("metadata") or {})}
    found.update({name: str(value) for name, value in item.items() if name.startswith("bakery:")})
    return {name: value for name, value in found.items() if name.startswith("bakery:") and value}


def run_of(name: str) -> str:
    """Return a key's run, as far as the key tells: `bakery-20261122-160627-1d7e-...`; empty where it is not ours."""
    found = RUN_ID.match(name)
    return found[1] if found else ""
