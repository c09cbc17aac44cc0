"""Words and figures that all reporters share."""

from __future__ import annotations

import re

from bakery.util.units import counted, format_size

SHORT = 1.0
"""Seconds from which a phase that went well is worth a word."""
NEVER = "never ran"
"""Why a step runs that has no earlier run to be compared with."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]|[ -/][0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")


def plain(text: str) -> str:
    """Return text without terminal sequences and control characters; of a line that redraws itself, the last state.

    What runs on a machine must not be able to steer the terminal, the CI system or the XML parser of whoever reads.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROLS.sub("", text)


def because(reason: str) -> str:
    """Return why a step had to run, as a remark on one that went well; empty where it goes without saying."""
    return f"because {reason}" if reason and reason != NEVER else ""


def ago(seconds: float) -> str:
    """`9 minutes ago`, `2 days ago`: how long something is past, as people say it."""
    for noun, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{counted(int(seconds // length), noun)} ago"
    return "just now"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3:07`, `1:02:10`."""
    if seconds < 9.95:  # noqa: PLR2004  from here on a tenth says nothing
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def done(what: str, count: float, total: float, unit: str) -> str:
    """Say how far something is: `downloading debian.qcow2 43 % of 500.0 MiB`."""
    return f"{what} {amount(count, total, unit)}"


def amount(count: float, total: float, unit: str) -> str:
    """`43 % of 500.0 MiB`; `215.0 MiB` where the total is not known."""
    if total:
        return f"{min(100, 100 * count / total):.0f} % of {format_size(total, unit)}"
    return format_size(count, unit)


def indent(text: str, by: str) -> str:
    """Put every line but the first behind a margin."""
    return f"\n{by}".join(text.splitlines())
