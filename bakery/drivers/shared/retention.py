"""Which older images of a name are beyond those that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from bakery.drivers.shared.marks import age

T = TypeVar("T")
DAY = 24 * 3600


def surplus(images: Iterable[T], created: Callable[[T], str], newest: int, days: float) -> list[T]:
    """Return the images beyond the newest ones, newest first; those of the last days are never among them.

    Args:
        images: all but the new one, in any order.
        created: an image's time of creation, ISO 8601.
        newest: how many stay besides the new one.
        days: those made in the last so many days stay in any case, as does one whose time cannot be read.
    """
    ordered = sorted(images, key=created, reverse=True)
    return [
        image for image in ordered[newest:] if (seconds := age(created(image))) is not None and seconds >= days * DAY
    ]
