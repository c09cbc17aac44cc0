"""Time limits of phases: whichever runs out ends the phase with the exit code of what it was about."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from bakery.errors import BakeryError, ConnectError, DriverError, Interrupted, SmokeError, TaskError, UsageError
from bakery.util.waiting import Cancel

PHASES: Final[Mapping[str, type[BakeryError]]] = MappingProxyType(
    {
        "base": DriverError,
        "launch": DriverError,
        "connect": ConnectError,
        "layout": TaskError,
        "provision": TaskError,
        "seal": DriverError,
        "capture": DriverError,
        "publish": DriverError,
        "inspect": SmokeError,
        "relaunch": DriverError,
        "reconnect": ConnectError,
        "smoke": SmokeError,
        "clone": SmokeError,
        "keep": DriverError,
    }
)
"""What can be limited, and what is raised then. All tasks together are `provision`. The clean-up has no limit but those
of its own waits."""


@contextmanager
def within(cancel: Cancel, phase: str, seconds: float | None) -> Generator[None]:
    """Bound what this thread does in the block.

    Args:
        cancel: the run's token; all waits of the block look at it.
        phase: its name.
        seconds: how long it may take; None for no limit.

    Raises:
        BakeryError: of the phase's family, when the time is over.
    """
    if seconds is None:
        yield
        return
    message = f"{phase} took longer than {seconds:g} s"
    try:
        with cancel.limited(seconds, message):
            yield
    except Interrupted as error:
        if cancel.reason:  # the whole run is cancelled
            raise
        raise PHASES[phase](message, hint=f"--phase-timeout {phase}=TIME gives it longer") from error


def checked(given: Mapping[str, float]) -> Mapping[str, float]:
    """Refuse what is no phase.

    Raises:
        UsageError: with the names of those that are.
    """
    for name in given:
        if name not in PHASES:
            raise UsageError(f"no phase is called {name!r}", hint=f"--phase-timeout takes {', '.join(PHASES)}")
    return given
