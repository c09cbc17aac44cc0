"""What is put up for one run of a step, and may stay for the next one: its end is left to whoever runs both."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

_ENDS: ContextVar[list[Callable[[], object]] | None] = ContextVar("bakery_lasting", default=None)


@contextmanager
def lasting() -> Generator[None]:
    """Let what is put up in this block last until its end; where the block fails, it stays, as the rest does."""
    ends: list[Callable[[], object]] = []
    token = _ENDS.set(ends)
    try:
        yield
    finally:
        _ENDS.reset(token)
    for end in reversed(ends):
        end()


def end_now_or_later(end: Callable[[], object]) -> None:
    """End something: at once, or with the block that lets it last."""
    ends = _ENDS.get()
    if ends is None:
        end()
    else:
        ends.append(end)
