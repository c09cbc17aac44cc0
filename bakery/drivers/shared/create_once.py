"""Create a resource whose create request knows no client token: once, even where the answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bakery.errors import RetryableError
from bakery.state.claim import Claim
from bakery.util.retry import retry

T = TypeVar("T")
ATTEMPTS = 6


def create_once(
    call: Callable[[], T],
    look_up: Callable[[], Sequence[T]],
    claim: Claim,
    *,
    on: type[RetryableError] = RetryableError,
) -> T:
    """Call until there is an answer, and look before each call but the first whether an earlier one has worked unheard.

    Args:
        call: makes the request, without any retries of its SDK.
        look_up: returns what carries our key already.
        claim: whose cancellation ends the pauses, and whose events say why they are made.
        on: the errors after which the request is made again.

    Raises:
        RetryableError: the last of several refusals, of the class `on`.
        Interrupted: when cancelled.
    """
    called = False

    def attempt() -> T:
        nonlocal called
        existing = look_up() if called else []
        called = True
        return existing[0] if existing else call()

    def say(_: int, error: BaseException) -> None:
        claim.waiting(f"{error}, trying again")

    return retry(attempt, claim.cancel, on=on, attempts=ATTEMPTS, first=0.5, say=say)
