"""How code tells whoever watches a step what it reads and writes on this host; the cache's tracer is that watcher."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol


class StepObserver(Protocol):
    """Watches one step."""

    def file(self, path: str | Path) -> None:
        """Take note of a file, or a folder with all that is in it, that was read."""

    def blame(self, reason: str) -> None:
        """Take note of why the step's result cannot be reused."""

    def output(self, path: str | Path) -> None:
        """Take note of a file on this host that was written."""


ACTIVE: ContextVar[Any] = ContextVar("bakery_step_observer", default=None)
"""The observer of the running step, a `StepObserver`; None outside a step."""


def note_path(path: str | Path) -> None:
    """Say that the running step read a file, or a folder with all that is in it. Does nothing outside a step."""
    if (tracer := ACTIVE.get()) is not None:
        tracer.file(path)


def note_untraceable(reason: str) -> None:
    """Say that the running step did something whose inputs cannot be followed: its result is not reused."""
    if (tracer := ACTIVE.get()) is not None:
        tracer.blame(reason)


def note_output(path: str | Path) -> None:
    """Say that the running step wrote a file on this host: skipping it would leave an old one there."""
    if (tracer := ACTIVE.get()) is not None:
        tracer.output(path)


@contextmanager
def untraced() -> Generator[None]:
    """Nothing that this block reads is the step's: for work of ours that calls the user's packages."""
    token = ACTIVE.set(None)
    try:
        yield
    finally:
        ACTIVE.reset(token)
