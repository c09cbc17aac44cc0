"""Time that passes only where somebody sleeps."""

from __future__ import annotations

import time

import pytest

from bakery.util.waiting import Cancel


class Clock(Cancel):
    """A token that nobody cancels unless told; every wait of the package takes no time, and moves the clock on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        clock = self

        def sleep(cancel: Cancel, seconds: float) -> None:
            cancel.check()
            clock.now += max(seconds, 0.001)
            cancel.check()

        monkeypatch.setattr(Cancel, "sleep", sleep)
