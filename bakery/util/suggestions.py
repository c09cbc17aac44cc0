"""What somebody meant who wrote a name that is not there."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like another one; None where none looks like it."""
    from difflib import get_close_matches  # nothing is misspelt, mostly

    return next(iter(get_close_matches(name, known, n=1)), None)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "", keyword: bool = False) -> str:
    """Return a hint: `did you mean web?`, or all known names where none is near.

    Args:
        name: as it was written.
        known: the names that there are, in the order in which they are listed.
        otherwise: what introduces the list, as in `variables are`; without it, there is no list.
        keyword: True for the names of keyword arguments: `did you mean retries= ?`.
    """
    known = list(known)
    near = nearest(name, known)
    if near is not None:
        return f"did you mean {near}= ?" if keyword else f"did you mean {near}?"
    return f"{otherwise}: {', '.join(known) or 'none'}" if otherwise else ""
