"""Somebody who watches a step: what it took in, and why its result cannot be reused."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bakery.util.observer import ACTIVE


@dataclass
class Watcher:
    """Stands in for the cache's tracer."""

    taken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    written: list[str] = field(default_factory=list[str])
    reasons: list[str] = field(default_factory=list[str])

    def took(self, kind: str, name: str) -> None:
        """Take note of what was looked at."""
        self.taken.append((kind, name))

    def file(self, path: str | Path) -> None:
        """Take note of what was read."""
        self.taken.append(("tree", str(path)))

    def output(self, path: str | Path) -> None:
        """Take note of what was written."""
        self.written.append(str(path))

    def audit(self, event: str, args: object) -> None:
        """Hear what Python tells the cache's hook, where an earlier test installed it: not what a tool tells."""

    def blame(self, reason: str) -> None:
        """Take note of why nothing is reused."""
        self.reasons.append(reason)


@contextmanager
def watched() -> Generator[Watcher]:
    """Watch what a block takes in."""
    watcher = Watcher()
    token = ACTIVE.set(watcher)
    try:
        yield watcher
    finally:
        ACTIVE.reset(token)
