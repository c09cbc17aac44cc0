"""Labels: what builds share and there is only so much of, such as `kvm:1`: a device, a licence, an account.

Two are this host's own: `memory` in bytes, and `cpus`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from bakery.errors import UsageError
from bakery.util.suggestions import did_you_mean
from bakery.util.units import parse_size

LABEL = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)(?::(\d+)([KMGT]?))?")
HOST = ("memory", "cpus")
"""What every build on this host takes, without saying so."""
VARIABLE = "BAKERY_LIMITS"
"""Where a host's own limits stand, for all projects that are built on it."""


def parse(text: str) -> tuple[str, int]:
    """Read `kvm`, `kvm:2` or `memory:8G`; without a number it is 1.

    Raises:
        ValueError: it is no label.
    """
    match = LABEL.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or (match[2] is not None and int(match[2]) == 0):
        raise ValueError(f"{text!r} is no label; write NAME or NAME:COUNT, as in kvm:1")
    return match[1], parse_size(f"{match[2] or 1}{match[3] or ''}")


def counts(texts: Iterable[str]) -> dict[str, int]:
    """Read several labels; of one that is named twice the last counts.

    Raises:
        ValueError: one of them is no label, or they are no list.
    """
    if isinstance(texts, str):
        raise ValueError(f"{texts!r} is a text, not a list of them")  # noqa: TRY004  one family of errors for callers
    return dict(parse(text) for text in texts)


def limits(written: Iterable[str], environ: Mapping[str, str]) -> dict[str, int]:
    """Return how much there is of what: this host's own limits, and those of the command line in their place.

    Args:
        written: on the command line.
        environ: the environment.

    Raises:
        UsageError: one of them cannot be read.
    """
    try:
        host = counts(environ.get(VARIABLE, "").replace(",", " ").split())
    except ValueError as error:
        raise UsageError(f"{VARIABLE}: {error}") from error
    try:
        return {**host, **counts(written)}
    except ValueError as error:
        raise UsageError(f"--limit: {error}") from error


def refuse_unknown(written: Iterable[str], labels: Collection[str]) -> None:
    """See that every limit of the command line is about something: one that is misspelt would limit nothing.

    Raises:
        UsageError: no build has the label.
    """
    for name in counts(written):
        if name not in labels:
            hint = did_you_mean(name, sorted(labels), otherwise="there are")
            raise UsageError(f"--limit {name}: no build has this label", hint=hint)
