"""Spans of time as users write them."""

from __future__ import annotations

import re
import time
from typing import Final

from bakery.errors import ImagefileError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SKEW: Final = 300.0
"""Seconds by which a date may lie ahead of the clock: clocks are corrected by so much every day."""


def seconds(text: object) -> float:
    """Read `30m`, `12h`, `7d`, `2w`, or a number of seconds.

    Raises:
        ImagefileError: it is something else.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool) and text >= 0:
        return float(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text) if isinstance(text, str) else None
    if match is None:
        raise ImagefileError(f"{text!r} is no span of time", hint='write "30m", "12h", "7d" or "2w"')
    return float(match[1]) * _UNITS[match[2]]


def is_young(made: float, most: float) -> bool:
    """Say whether something is younger than so many seconds, by the clock on the wall.

    The clock may have been set back since: then a date lies ahead of it, nobody knows how old the thing is, and it
    does not count as young.

    Args:
        made: seconds since the epoch, as the clock was then.
        most: seconds.
    """
    return -SKEW <= time.time() - made <= most


def date_of_use(noted: float) -> float:
    """Return a date of last use, or 0 for one that lies ahead of the clock: it would else outlive all others."""
    return noted if noted <= time.time() + SKEW else 0.0
