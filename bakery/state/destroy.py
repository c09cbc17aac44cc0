"""The one code path that destroys: after success, after a failure, after Ctrl-C, and in `bake gc`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from bakery.errors import BakeryError, CleanupError
from bakery.model import Resource
from bakery.state.journal import Journal
from bakery.util.retry import retry
from bakery.util.waiting import Cancel


class Destroyer(Protocol):
    """The part of a driver that unmakes things."""

    def destroy(self, resource: Resource) -> None:
        """Destroy one thing from its record alone; "not found" is success."""

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        """Return what may be destroyed at the same time, first batch first."""
        ...


ATTEMPTS = 6
TOGETHER = 8
"""Things that are destroyed at the same time, at most."""


def destroy_all(
    resources: Iterable[Resource],
    *,
    driver: Callable[[str], Destroyer],
    journal: Journal,
    cancel: Cancel,
    notify: Callable[[str], None] = lambda _: None,
) -> list[CleanupError]:
    """Destroy things from their records alone, newest first or as their driver says.

    Goes on after a failure, so that one stubborn thing does not save the others. Never interrupted: the cancellation
    that may have brought us here is shielded.

    Returns:
        What could not be destroyed; the journal knows it too.
    """

    def end(resource: Resource) -> CleanupError | None:
        notify(str(resource))
        try:
            with cancel:  # shields this thread
                retry(lambda: driver(resource.driver).destroy(resource), cancel, attempts=ATTEMPTS)
        except Exception as error:  # anything at all: the rest must still be tried
            with suppress(OSError):  # a full disk: what is not written down counts as being there
                journal.failed(resource)
            return _explained(resource, error)
        with suppress(OSError):  # the same; to destroy it once more does no harm
            journal.gone(resource)
        return None

    errors: list[CleanupError | None] = []
    for wave in _waves(list(resources), driver):
        if len(wave) == 1:
            errors.append(end(wave[0]))
            continue
        with ThreadPoolExecutor(min(len(wave), TOGETHER), thread_name_prefix="clean-up") as pool:
            errors += pool.map(end, wave)
    return [error for error in errors if error is not None]


def _waves(resources: list[Resource], driver: Callable[[str], Destroyer]) -> Iterator[list[Resource]]:
    """Yield what may go at the same time, driver by driver; one whose driver cannot be had fails alone, in its turn."""
    for name in dict.fromkeys(resource.driver for resource in reversed(resources)):
        own = [resource for resource in resources if resource.driver == name]
        try:
            waves = driver(name).destroy_batches(own)
        except BakeryError:
            waves = [[resource] for resource in reversed(own)]
        yield from waves


def _explained(resource: Resource, error: Exception) -> CleanupError:
    why = str(error) if isinstance(error, BakeryError) else f"{type(error).__name__}: {error}"
    hint = f"bake gc {resource.run}"
    return CleanupError(f"{resource} could not be destroyed", why=why, hint=hint)
