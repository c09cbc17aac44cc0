"""The marks on everything that a build makes in a cloud: their names, their values, and what they tell of an age."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from bakery.state.claim import Claim

RUN, BUILD, EXPIRES = "bakery:run", "bakery:build", "bakery:expires"
KEY = "bakery:key"
"""The name that we chose for this one resource; the record in the journal holds it too."""
STARTED = "bakery:started"
IMAGE = "bakery:image"
"""Only on kept images: the image's name in the imagefile."""
STEP = "bakery:step"
"""Only on checkpoints: the content key of the last step inside."""
NOTE = "bakery:note"
"""Only on checkpoints: what another host needs to know its steps again."""
TEMPORARY = (RUN, EXPIRES, KEY, STARTED)
"""What a kept image loses."""


def of_claim(claim: Claim, key: str) -> dict[str, str]:
    """Return the marks of something that must not stay: the claim's, our key for it, and when it was asked for."""
    return {**claim.tags, KEY: key, STARTED: datetime.now(UTC).isoformat(timespec="seconds")}


def age(text: str) -> float | None:
    """Return the seconds since a time as clouds write it, or None where it cannot be read.

    Args:
        text: ISO 8601; without a time zone it is UTC, as Neutron and Cinder mean it.
    """
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return (datetime.now(UTC) - then).total_seconds()


def is_older(started: str, seconds: float | None, *, undated: bool) -> bool:
    """Say whether something with this time of start is at least so old.

    Args:
        started: as `age` reads it.
        seconds: None asks for no age.
        undated: the answer for what tells no time.
    """
    if seconds is None:
        return True
    found = age(started)
    return undated if found is None else found >= seconds


def read(resource: Mapping[str, str]) -> dict[str, str]:
    """Return those of a resource's names and values that are marks and say something."""
    return {name: value for name, value in resource.items() if name.startswith("bakery:") and value}
