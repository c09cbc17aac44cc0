"""What a build says of itself: its events, and the time that each of its phases takes."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bakery.build.phase_timeouts import within
from bakery.errors import BakeryError, Interrupted
from bakery.events import Event, PhaseEnded, PhaseStarted
from bakery.imagefile.user_code import text_of

if TYPE_CHECKING:
    from bakery.build.context import RunContext


class BuildEvents:
    """Sends a build's events.

    Args:
        run: the run.
        build: the build's name.
    """

    def __init__(self, run: RunContext, build: str) -> None:
        self._run = run
        self._build = build

    def emit(self, event: Event) -> None:
        """Send an event in the build's name."""
        self._run.emit(replace(event, build=self._build))

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time a phase and say how it ended.

        Raises:
            Interrupted: the run is cancelled.
        """
        self._run.cancel.check()
        started = time.monotonic()
        self.emit(PhaseStarted(phase=name))
        try:
            with self.limited(name):
                yield
        except BaseException as error:
            outcome = "cancelled" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
            self.emit(PhaseEnded(phase=name, seconds=time.monotonic() - started, outcome=outcome))  # type: ignore[arg-type]  # one of two literals
            raise
        self.emit(PhaseEnded(phase=name, seconds=time.monotonic() - started))

    def limited(self, phase: str) -> AbstractContextManager[None]:
        """Bound a phase by what `--phase-timeout` says of it."""
        return within(self._run.cancel, phase, self._run.options.phase_timeouts.get(phase))


def user_text(error: BaseException) -> str:
    """Return an error as one line for a reason field."""
    return error.what if isinstance(error, BakeryError) else f"{type(error).__name__}: {text_of(error)}".rstrip(": ")
