"""What was built and kept: looking after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from bakery.build.context import RunContext
from bakery.build.versions import follow
from bakery.drivers.base import Driver
from bakery.errors import BakeryError, PostError, UsageError
from bakery.events import Notice
from bakery.model import Artifact, to_json
from bakery.state import package_lists
from bakery.state.project import State
from bakery.state.versions import FAMILY, is_current
from bakery.util.files import write_whole


def write_down(run: RunContext, image: Artifact, note: str) -> None:
    """Write a kept image into the catalogue, and beside the run. It is kept, whatever happens here.

    Args:
        run: the run.
        image: what was kept.
        note: the name of the run's own file about it.

    Raises:
        PostError: the catalogue cannot be written.
    """
    try:
        run.state.add_image(image)
    except OSError as error:
        raised = PostError(
            f"the image is kept, but cannot be written into the catalogue: {image.id}",
            why=str(error),
            hint="free some space; `bake build` then makes an image that is known",
        )
        raised.artifact = image
        raise raised from error
    try:
        write_whole(run.folder.path / note, json.dumps(to_json(image), indent=2), durable=True)
    except OSError as error:
        run.emit(Notice(build=image.build, level="warning", message=f"{note} is not written: {error}"))


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
    follow(image, state)
    package_lists.sweep(state.folder, state.images())


def excess(images: Iterable[Artifact], keep: int) -> list[Artifact]:
    """Return all but the newest `keep` images of each name and driver; the versions of an image have one name.

    The current version stays, also where it is an older one: it is one of those that are kept.

    Args:
        images: oldest first, as the catalogue has them.
        keep: how many of each stay; 0 for none at all.
    """
    groups: dict[tuple[str, str, str], list[Artifact]] = {}
    for image in images:
        family = image.data.get(FAMILY)
        place = image.build if family else ""  # each source has versions of its own
        groups.setdefault((image.driver, family or image.name, place), []).append(image)
    return [image for group in groups.values() for image in _old(group, keep)]


def _old(group: list[Artifact], keep: int) -> list[Artifact]:
    spared = [image for image in group if is_current(image)][: 1 if keep else 0]
    others = [image for image in group if image not in spared]
    return others[: max(0, len(others) - max(0, keep - len(spared)))]


def status(image: Artifact, drivers: Callable[[str], Driver[Any]]) -> str:
    """Return `ok`, `missing or changed`, or why that cannot be said."""
    try:
        return "ok" if drivers(image.driver).intact(image) else "missing or changed"
    except NotImplementedError:
        return "unknown"
    except BakeryError as error:
        return f"unknown: {error.what}"
