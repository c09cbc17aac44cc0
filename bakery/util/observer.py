"""How code tells whoever watches a step what it reads and writes on this host; the cache's tracer is that watcher."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Protocol


class StepObserver(Protocol):
    """Watches one step."""

    def file(self, path: str | Path) -> None:
        """Take note of a file, or a folder with all that is in it, that was read."""

    def blame(self, reason: str) -> None:
        """Take note of why the step's result cannot be reused."""

    def output(self, path: str | Path) -> None:
        """Take note of a file on this host that was written."""

    def took(self, kind: str, name: str) -> None:
        """Take note of something that was looked at: `file`, `tree`, `listing` and a path, or `env` and a name."""


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


def note_environment(name: str) -> None:
    """Say that the running step depends on an environment variable. Does nothing outside a step."""
    note_input("env", name)


def note_input(kind: Literal["file", "tree", "listing", "env"], name: str) -> None:
    """Say that the running step looked at something, also in vain. Does nothing outside a step.

    Args:
        kind: what was looked at.
        name: the absolute path, or the variable's name.
    """
    if (tracer := ACTIVE.get()) is not None:
        tracer.took(kind, name)


@contextmanager
def untraced() -> Generator[None]:
    """Nothing that this block reads is the step's: for work of ours that calls the user's packages."""
    token = ACTIVE.set(None)
    try:
        yield
    finally:
        ACTIVE.reset(token)
