"""Marks on everything that we make: metadata where a service has them, else the description, else the name."""

from __future__ import annotations

import re
import secrets
from typing import Any

from bakery.drivers.shared import marks
from bakery.drivers.shared.marks import BUILD, EXPIRES, IMAGE, KEY, NOTE, RUN, STARTED, STEP, TEMPORARY
from bakery.state.claim import Claim

__all__ = ["BUILD", "EXPIRES", "IMAGE", "KEY", "NOTE", "RUN", "STARTED", "STEP", "TEMPORARY"]

RUN_ID = re.compile(r"bakery-([0-9]{8}-[0-9]{6}-[0-9a-f]+)-")
LONGEST = 255
"""Characters of a name, a description, a value of metadata."""


def new_key(claim: Claim) -> str:
    """Return a name that nothing else has; it begins with the run's."""
    return f"{claim.name[:180]}-{secrets.token_hex(4)}"


def temporary(claim: Claim, key: str) -> dict[str, str]:
    """Return the marks of something that must not stay."""
    return {name: value[:LONGEST] for name, value in marks.of_claim(claim, key).items()}


def line(claim: Claim) -> str:
    """Return the marks as one line, for resources that have nothing but a description."""
    return " ".join(f"{name}={claim.tags[name]}" for name in (RUN, EXPIRES, BUILD) if name in claim.tags)[:LONGEST]


def read_line(text: str | None) -> dict[str, str]:
    """Read what `line` wrote, wherever it stands in a text."""
    pairs = (word.partition("=") for word in (text or "").split() if word.startswith("bakery:"))
    return {name: value for name, _, value in pairs}


def of(resource: Any) -> dict[str, str]:
    """Return the marks of a resource as openstacksdk shows it.

    A server, a volume and a snapshot have them in `metadata`, an image in `properties`, the network's resources in
    their `description`.
    """
    described = read_line(getattr(resource, "description", None))
    metadata = getattr(resource, "metadata", None) or {}
    properties = getattr(resource, "properties", None) or {}
    return marks.read({**described, **metadata, **{name: str(value) for name, value in properties.items()}})


def run_of(name: str) -> str:
    """Return the run that a key begins with: `20261122-160627-1d7e`; empty where the name is none of our keys."""
    match = RUN_ID.match(name)
    return match[1] if match else ""
