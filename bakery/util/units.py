"""Sizes, spans of time and counts, as users write them and as they are shown: one meaning everywhere."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_STEP: Final = 1024
_SPAN: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", re.ASCII)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_size(text: str | float) -> int:
    """Read a size in bytes.

    Args:
        text: `500M`, `1.5G`, `20 GiB`, or a number of bytes. K, M, G and T are powers of 1024, with or without `B` or
            `iB`, in either case.

    Raises:
        ValueError: it is no size.
    """
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        return int(float(match[1]) * _STEP ** _POWERS[match[2].upper()])
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return int(text)
    raise ValueError(f"{text!r} is no size; write 500M or 20G")


def format_size(count: float, unit: str = "B") -> str:
    """Show a size as `812 B`, `1.4 GiB`; `parse_size` reads it back.

    Args:
        count: how many units.
        unit: what is counted.
    """
    for prefix in ("", "Ki", "Mi", "Gi"):
        if count < _STEP - (0.05 if prefix else 0):  # what would be rounded up to the next prefix has that one
            return f"{count:.1f} {prefix}{unit}" if prefix else f"{count:.0f} {unit}"
        count /= _STEP
    return f"{count:.1f} Ti{unit}"


def parse_duration(text: str | float) -> float:
    """Read a span of time in seconds.

    Args:
        text: `90s`, `30m`, `12h`, `7d`, `2w`, or a number of seconds, as text too.

    Raises:
        ValueError: it is none.
    """
    match = _SPAN.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return float(text)
    raise ValueError(f"{text!r} is no span of time; write 90s, 30m, 12h or 7d")


def counted(number: int, noun: str) -> str:
    """Say how many of something there are: `1 task`, `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
