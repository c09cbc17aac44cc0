"""Wait for a cloud: a refusal for now is no end of a wait, and clean-up is never cancelled."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from bakery.errors import BakeryError, DriverError, NotYet, RetryableError
from bakery.util.waiting import Cancel, until

TIMEOUT = 600.0
"""Seconds that a resource may take to go."""


@contextmanager
def patience(provider: str, note: Callable[[str], None] | None = None) -> Generator[None]:
    """Turn a refusal for now inside a probe into `NotYet`: what is waited for is none the worse for it.

    Args:
        provider: who refused, for the message: "AWS".
        note: told of the refusal before `NotYet` is raised.

    Raises:
        NotYet: a `RetryableError` was raised inside.
    """
    try:
        yield
    except RetryableError as error:
        what = f"{provider} asks for patience"
        if note is not None:
            note(what)
        raise NotYet(f"{what} ({error.why.split(':')[0]})") from error


def until_gone(
    what: str,
    probe: Callable[[], Any],
    *,
    every: tuple[float, float],
    late: float = 1.0,
    error: type[BakeryError] = DriverError,
) -> None:
    """Ask for a resource's end until it is gone. Clean-up is never cancelled, so it waits under a token of its own.

    Args:
        what: for the message: "the volume v is gone".
        probe: raises `NotYet` while the resource is there; a `RetryableError` counts as that too.
        every: seconds of the shortest and the longest pause.
        late: as `until` has it.
        error: raised when it takes longer than `TIMEOUT`.
    """

    def ask() -> Any:
        try:
            return probe()
        except RetryableError as refusal:
            raise NotYet(refusal.why) from refusal

    until(ask, what=what, timeout=TIMEOUT, cancel=Cancel(), every=every, late=late, error=error)
