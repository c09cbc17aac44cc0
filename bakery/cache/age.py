"""Spans of time as users write them."""

from __future__ import annotations

import re

from bakery.errors import ImagefileError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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
