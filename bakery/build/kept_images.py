"""What was built and kept: looking after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bakery.drivers.base import Driver
from bakery.errors import BakeryError, UsageError
from bakery.model import Artifact
from bakery.state.project import State


def remove(image: Artifact, state: State, drivers: Callable[[str], Driver[Any]]) -> None:
    """Delete a kept image where it is, then from the catalogue.

    Raises:
        DriverError: it is in use, or the provider refuses; the catalogue keeps it.
        UsageError: its driver cannot delete images.
    """
    try:
        drivers(image.driver).delete(image)
    except NotImplementedError as error:
        raise UsageError(
            f"the driver {image.driver} cannot delete images", hint=f"delete {image.id} by hand"
        ) from error
    state.forget_image(image)


def excess(images: Iterable[Artifact], keep: int) -> list[Artifact]:
    """Return all but the newest `keep` images of each name and driver.

    Args:
        images: oldest first, as the catalogue has them.
        keep: how many of each stay.
    """
    groups: dict[tuple[str, str], list[Artifact]] = {}
    for image in images:
        groups.setdefault((image.driver, image.name), []).append(image)
    return [image for group in groups.values() for image in group[: max(0, len(group) - keep)]]


def status(image: Artifact, drivers: Callable[[str], Driver[Any]]) -> str:
    """Return `ok`, `missing or changed`, or why that cannot be said."""
    try:
        return "ok" if drivers(image.driver).intact(image) else "missing or changed"
    except NotImplementedError:
        return "unknown"
    except BakeryError as error:
        return f"unknown: {error.what}"
