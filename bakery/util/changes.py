"""How configuration management tells whoever watches a step what it changed; `idempotent=True` is that watcher."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_CHANGES: ContextVar[list[str] | None] = ContextVar("bakery_changes", default=None)


def note_change(what: str) -> None:
    """Say that the running step changed the machine, in a tool's own terms. Does nothing where nobody asks."""
    if (changes := _CHANGES.get()) is not None:
        changes.append(what)


@contextmanager
def collected_changes() -> Generator[list[str]]:
    """Collect what is told inside `with`, in this thread."""
    changes: list[str] = []
    token = _CHANGES.set(changes)
    try:
        yield changes
    finally:
        _CHANGES.reset(token)
