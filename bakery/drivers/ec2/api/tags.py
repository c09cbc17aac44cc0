"""Tags: on everything, from the request on, so that a sweep finds what no journal knows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from bakery.drivers.shared import marks
from bakery.drivers.shared.marks import BUILD, EXPIRES, IMAGE, KEY, NOTE, RUN, STARTED, STEP, TEMPORARY
from bakery.state.claim import Claim

__all__ = ["BUILD", "EXPIRES", "IMAGE", "KEY", "NOTE", "RUN", "STARTED", "STEP", "TEMPORARY"]

LONGEST = 256
"""Characters of a tag's value (docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html)."""


def new_key(claim: Claim, suffix: str = "") -> str:
    """Return a name that nothing else has: fit for client tokens (64 ASCII characters) and names of groups."""
    return f"{claim.name[-48:]}{suffix}-{secrets.token_hex(3)}"


def temporary(claim: Claim, key: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of something that must not stay."""
    return {"Name": claim.name, **extra, **marks.of_claim(claim, key)}


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags in the API's form."""
    return [{"Key": key, "Value": str(value)[:LONGEST]} for key, value in tags.items()]


def specification(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    """Return the `TagSpecifications` of a create call, for each kind of thing that it makes."""
    return [{"ResourceType": kind, "Tags": listed(tags)} for kind in kinds]


def read(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of something that AWS described."""
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}


def filters(conditions: Mapping[str, str | Sequence[str]]) -> list[dict[str, Any]]:
    """Return `Filters` in the API's form."""
    return [
        {"Name": name, "Values": [value] if isinstance(value, str) else list(value)}
        for name, value in conditions.items()
    ]


def split(name: str, text: str, most: int) -> dict[str, str]:
    """Return a long text as tags `NAME-0`, `NAME-1`, ...; none at all where it does not fit into that many."""
    parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
    return {f"{name}-{number}": part for number, part in enumerate(parts)} if len(parts) <= most else {}


def joined(name: str, tags: Mapping[str, str]) -> str:
    """Return the text that `split` made tags of; empty where there is none."""
    parts: list[str] = []
    while f"{name}-{len(parts)}" in tags:
        parts.append(tags[f"{name}-{len(parts)}"])
    return "".join(parts)
