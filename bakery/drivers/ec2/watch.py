"""One question for all: the state of many things, asked about by many builds, in as few calls as possible."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

BATCH = 200
"""Values that one filter may have (docs.aws.amazon.com/AWSEC2/latest/APIReference, Filter)."""
FORGET = 30.0
"""Seconds after which a thing that nobody asks about is no longer asked for."""


class Watch:
    """Answers from one shared look, never older than `every` seconds; the first who finds it too old looks for all.

    Args:
        fetch: returns the state of each id that exists.
        every: seconds.
    """

    def __init__(self, fetch: Callable[[list[str]], dict[str, dict[str, Any]]], every: float) -> None:
        self._fetch = fetch
        self._every = every
        self._lock = threading.Lock()
        self._look = threading.Lock()
        self._asked: dict[str, float] = {}
        self._known: dict[str, tuple[float, dict[str, Any] | None]] = {}

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the state of one thing as AWS describes it, or None where there is none.

        Raises:
            DriverError: the look was refused.
        """
        with self._lock:
            self._asked[name] = time.monotonic()
        with self._look:
            known = self._known.get(name)
            if known is None or time.monotonic() - known[0] > self._every:
                self._refresh()
            return self._known[name][1]

    def forget(self, name: str) -> None:
        """Drop what is known, after something was changed; the next question is then a real one."""
        with self._lock:
            self._known.pop(name, None)

    def _refresh(self) -> None:
        started = time.monotonic()
        with self._lock:
            self._asked = {name: asked for name, asked in self._asked.items() if started - asked < FORGET}
            names = sorted(self._asked)
        for first in range(0, len(names), BATCH):
            some = names[first : first + BATCH]
            found = self._fetch(some)
            with self._lock:
                self._known.update({name: (started, found.get(name)) for name in some})
