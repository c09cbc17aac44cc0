"""One question for all: the state of many things, asked about by many builds, in as few calls as possible."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from bakery.errors import NotYet

BATCH = 200
"""Values that one filter may have (docs.aws.amazon.com/AWSEC2/latest/APIReference, Filter)."""
FORGET = 30.0
"""Seconds after which a thing that nobody asks about is no longer asked for."""


class BatchPoller:
    """Answers from one shared look, never older than `every` seconds; the first who finds it too old looks for all.

    Args:
        fetch: returns the state of each id that exists.
        every: seconds between two looks, whoever asks.
    """

    def __init__(self, fetch: Callable[[list[str]], dict[str, dict[str, Any]]], every: float) -> None:
        self._fetch = fetch
        self._every = every
        self._lock = threading.Lock()
        self._look = threading.Lock()
        self._looked = float("-inf")
        self._asked: dict[str, float] = {}
        self._known: dict[str, dict[str, Any] | None] = {}

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the state of one thing as AWS describes it, or None where there is none. For probes.

        Raises:
            NotYet: it was not asked for in the last look, and the next is not due.
            DriverError: the look was refused.
        """
        with self._lock:
            self._asked[name] = time.monotonic()
        with self._look:
            if time.monotonic() - self._looked >= self._every:
                self._refresh()
            with self._lock:
                if name in self._known:
                    return self._known[name]
        raise NotYet("AWS is asked again in a moment")

    def now(self, name: str) -> dict[str, Any] | None:
        """Look at one thing at once, for those who do not wait for anything."""
        return self._fetch([name]).get(name)

    def forget(self, name: str) -> None:
        """Drop what is known, after something was changed; the next answer is then from a new look."""
        with self._look, self._lock:
            self._known.pop(name, None)

    def _refresh(self) -> None:
        started = time.monotonic()
        with self._lock:
            self._asked = {name: asked for name, asked in self._asked.items() if started - asked < FORGET}
            names = sorted(self._asked)
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(names), BATCH):
            found.update(self._fetch(names[first : first + BATCH]))
        with self._lock:
            self._known = {name: found.get(name) for name in names}
            # From the end of the look: those who waited for it share its answer, however long it took.
            self._looked = time.monotonic()
