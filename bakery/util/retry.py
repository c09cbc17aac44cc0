"""Trying again: exponential pauses with jitter, cancellable, and the last error is the one that is raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bakery.errors import RetryableError
from bakery.util.waiting import Cancel

T = TypeVar("T")


def retry(
    call: Callable[[], T],
    cancel: Cancel,
    *,
    on: type[Exception] = RetryableError,
    attempts: int = 5,
    first: float = 0.2,
    longest: float = 10.0,
    say: Callable[[int, BaseException], None] | None = None,
) -> T:
    """Call until it works, or until there is no more point in trying.

    Args:
        call: what to do; anything but `on` ends it at once.
        cancel: ends the pauses.
        on: the errors after which trying again may help.
        attempts: how often at most.
        first: seconds of the first pause; each further one is twice as long, and up to half as long again by chance.
        longest: seconds of the longest pause.
        say: told of each failure that is followed by another attempt: its number, and the error.

    Raises:
        Interrupted: when cancelled.
    """
    from tenacity import (
        RetryCallState,
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        wait_exponential,
        wait_random,
    )

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if say is not None and error is not None:
            say(state.attempt_number, error)

    pauses = wait_exponential(multiplier=first, max=longest) + wait_random(0, first / 2)
    return Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_attempt(attempts),
        wait=pauses,
        sleep=cancel.sleep,
        before_sleep=tell,
        reraise=True,
    )(call)
