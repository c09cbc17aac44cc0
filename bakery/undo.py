"""The one code path that destroys: after success, after a failure, after Ctrl-C, and in `bake gc`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from bakery.drivers.base import Driver
from bakery.errors import BakeryError, CleanupError
from bakery.journal import Journal
from bakery.model import Resource
from bakery.retry import again
from bakery.transport.wait import Cancel

ATTEMPTS = 6


def undo(
    resources: Iterable[Resource],
    *,
    driver: Callable[[str], Driver[Any]],
    journal: Journal,
    cancel: Cancel,
    notify: Callable[[str], None] = lambda _: None,
) -> list[CleanupError]:
    """Destroy things, newest first, from their records alone.

    Goes on after a failure, so that one stubborn thing does not save the others. Never interrupted: the cancellation
    that may have brought us here is shielded.

    Returns:
        What could not be destroyed; the journal knows it too.
    """
    errors: list[CleanupError] = []
    with cancel:
        for resource in reversed(list(resources)):
            notify(str(resource))
            try:
                _destroy(driver(resource.driver), resource, cancel)
            except Exception as error:  # anything at all: the rest must still be tried
                errors.append(_explained(resource, error))
                with suppress(OSError):  # a full disk: what is not written down counts as being there
                    journal.failed(resource)
            else:
                with suppress(OSError):  # the same; to destroy it once more does no harm
                    journal.gone(resource)
    return errors


def _destroy(driver: Driver[Any], resource: Resource, cancel: Cancel) -> None:
    again(lambda: driver.destroy(resource), cancel, attempts=ATTEMPTS)


def _explained(resource: Resource, error: Exception) -> CleanupError:
    why = str(error) if isinstance(error, BakeryError) else f"{type(error).__name__}: {error}"
    hint = f"bake gc {resource.run}"
    return CleanupError(f"{resource} could not be destroyed", why=why, hint=hint)
