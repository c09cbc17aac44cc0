"""Spans of time as users write them."""

from __future__ import annotations

import time
from typing import Final

from bakery.errors import ImagefileError
from bakery.util.units import parse_duration

SKEW: Final = 300.0
"""Seconds by which a date may lie ahead of the clock: clocks are corrected by so much every day."""


def seconds(text: object) -> float:
    """Read `30m`, `12h`, `7d`, `2w`, or a number of seconds.

    Raises:
        ImagefileError: it is something else.
    """
    try:
        return parse_duration(text)  # type: ignore[arg-type]  # it looks at the type itself
    except ValueError:
        raise ImagefileError(f"{text!r} is no span of time", hint='write "30m", "12h", "7d" or "2w"') from None


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
