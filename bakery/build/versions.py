"""Images of which older versions stay: `@bakery.image(versions=...)`, `bake rollback`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bakery.build.job import Job
from bakery.disk.image_files import disk_path, disks_of
from bakery.drivers.base import Driver
from bakery.errors import BakeryError, UsageError
from bakery.model import Artifact
from bakery.state.image_names import names_build, refuse_several, short_name
from bakery.state.project import State
from bakery.state.versions import (
    FAMILY,
    PINNED,
    VERSION,
    current_of,
    foresee,
    is_current,
    make_current,
    take,
    versioned,
)


def name_of(job: Job, state: State) -> str:
    """Return the name that the next image of a build will have."""
    if (front := _front(job)) is None:
        return job.build.image
    return f"{job.build.image}-{foresee(state.folder, job.name, front, state.images())}"


def take_name(job: Job, state: State) -> tuple[str, str]:
    """Return the name of the image that is about to be kept, and its version; empty for one without."""
    if (front := _front(job)) is None:
        return job.build.image, ""
    version = take(state.folder, job.name, front, state.images())
    return f"{job.build.image}-{version}", version


class Naming:
    """Gives images their names."""

    def foresee(self, job: Job, state: State) -> str:
        """Return the name that the next image of a build will have."""
        return name_of(job, state)

    def take(self, job: Job, state: State) -> tuple[str, str]:
        """Return the name of the image that is about to be kept, and its version; empty for one without."""
        return take_name(job, state)


def _front(job: Job) -> str | None:
    wanted = job.options.versions
    return wanted if isinstance(wanted, str) else "" if wanted else None


def with_version(image: Artifact, job: Job, version: str) -> Artifact:
    """Write its version onto an image, which is the current one from now on; a driver may have named it otherwise."""
    if not version:
        return image
    family = job.build.image
    name = f"{family}-{version}" if image.name == family else image.name
    return versioned(replace(image, name=name), family, version)


# ---- the file that the family's name leads to -----------------------------------------------------------------------


def link_current(image: Artifact) -> str:
    """Let `web.qcow2` lead to the current version's file; nothing for an image that is no file.

    Returns:
        Why that cannot be; empty where it is so.
    """
    path = link_of(image)
    if path is None:
        return ""
    if path.exists() and not path.is_symlink():
        return f"{path} is an image from before there were versions, and stays what it is"
    links = {path: image.path, **{disk_path(path, name): file for name, file in disks_of(image).items()}}
    try:
        for link, file in links.items():
            fresh = link.with_name(f".{link.name}.link")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(file.name)
            fresh.replace(link)
    except OSError as error:
        return f"{path} does not lead to the new version: {error}"
    return ""


def link_of(image: Artifact) -> Path | None:
    """Return the file whose name has no version; None for an image that is no file of a version."""
    if not image.id.startswith("/") or VERSION not in image.data:
        return None
    suffix = image.path.name.removeprefix(f"{image.data[FAMILY]}-{image.data[VERSION]}")
    return image.path.with_name(f"{image.data[FAMILY]}{suffix}")


def follow(image: Artifact, state: State) -> None:
    """Let the newest version that is left be current where an image was removed that was."""
    path = link_of(image)
    if not is_current(image):
        return
    left = [other for other in state.images() if other.build == image.build and VERSION in other.data]
    if left:
        state.change_images(lambda images: make_current(images, left[-1]))
        link_current(left[-1])
    elif path is not None and path.is_symlink():
        for link in (path, *(disk_path(path, name) for name in disks_of(image))):
            link.unlink(missing_ok=True)


# ---- going back and forth -------------------------------------------------------------------------------------------


def claims_its_place(image: Artifact, state: State) -> str:
    """Make a version current that the imagefile makes as it is now; an older one, where the change was taken back.

    Returns:
        Why it is not: somebody went back to another one on purpose. Empty where it is current.
    """
    if VERSION not in image.data or is_current(image):
        return ""
    current = current_of(state.images(), image)
    if current is not None and current.data.get(PINNED):
        return f"{image.name} is what the imagefile makes, but somebody went back to {current.name}"
    state.change_images(lambda images: make_current(images, image))
    return link_current(image)


def roll_back(
    state: State, name: str, to: str | None, drivers: Callable[[str], Driver[Any]]
) -> tuple[Artifact, Artifact]:
    """Make an older version of an image the current one, and keep it so until a new one is made.

    Args:
        state: the project's.
        name: the image's name, with `@SOURCE` where several sources have made it.
        to: the version; None for the one before the current.
        drivers: returns the driver of a name.

    Returns:
        What was current, and what is.

    Raises:
        UsageError: there is no such image or no such version, or several builds have one of that name.
    """
    images = state.images()
    having = [image for image in images if VERSION in image.data]
    named = [image for image in having if names_build(image.build, name, (image.data[FAMILY],))]
    if not named:
        known = ", ".join(dict.fromkeys(short_name(images, image) for image in having))
        raise UsageError(
            f"no image {name!r} has versions",
            hint=f"images with versions: {known}" if known else "@bakery.image(versions=True) keeps them",
        )
    refuse_several(images, named, name)
    family = [image for image in having if image.build == named[-1].build]
    change = _change(family, to)
    if change is None:
        versions = ", ".join(dict.fromkeys(str(image.data[VERSION]) for image in family))
        wanted = f"version {to}" if to else "version before the current one"
        raise UsageError(f"{name} has no {wanted}", hint=f"versions: {versions}")
    chosen = change[1]
    _refuse_gone(chosen, drivers)
    state.change_images(partial(make_current, chosen=chosen, pinned=True))
    link_current(chosen)
    return change


def _change(versions: Sequence[Artifact], to: str | None) -> tuple[Artifact, Artifact] | None:
    """Return the current image and the one that is meant, of one build's, the oldest first."""
    place = next((at for at, image in enumerate(versions) if is_current(image)), len(versions) - 1)
    if to is None:
        return (versions[place], versions[place - 1]) if place > 0 else None
    chosen = [image for image in versions if image.data[VERSION] == to]
    return (versions[place], chosen[-1]) if chosen else None


def _refuse_gone(image: Artifact, drivers: Callable[[str], Driver[Any]]) -> None:
    try:
        there = drivers(image.driver).intact(image)
    except (NotImplementedError, BakeryError):  # who cannot be asked now is believed
        return
    if not there:
        raise UsageError(f"{image.name} is gone or was changed", why=os.fsdecode(image.id), hint="--to names another")
