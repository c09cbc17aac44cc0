"""How a user names a kept image, wherever a command takes one: `web`, `web@laptop`, `web-1.4.2`, an id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bakery.errors import UsageError
from bakery.model import Artifact
from bakery.state.versions import FAMILY, newest_meant


def source_of(build: str) -> str:
    """Return the source in a build's name, `laptop` of `web[release=trixie]@laptop`."""
    return build.rpartition("@")[2]


def function_of(build: str) -> str:
    """Return the image function's name in a build's, `web` of `web[release=trixie]@laptop`."""
    return build.partition("[")[0].partition("@")[0]


def names_build(build: str, name: str, images: Iterable[str] = ()) -> bool:
    """Say whether a word means a build: its own name, its function's, an image's, each with or without the source.

    Args:
        build: the build's name.
        name: the word.
        images: names of images that the build makes.
    """
    fronts = {function_of(build), *images}
    return name == build or name in fronts or name in {f"{front}@{source_of(build)}" for front in fronts}


def names_of(image: Artifact) -> tuple[str, ...]:
    """Return the names of an image's own: with its version, and without."""
    family = image.data.get(FAMILY)
    return (image.name, family) if family else (image.name,)


def meant(images: Sequence[Artifact], name: str) -> Artifact:
    """Return the kept image that a user names; the current version, or the newest of one build.

    Args:
        images: the catalogue's, oldest first.
        name: an id, a build's name, an image's name or its function's; each name with `@SOURCE` where it needs that.

    Raises:
        UsageError: there is none, or several builds have made one of that name.
    """
    found = all_meant(images, name)
    if not found:
        known = ", ".join(sorted({image.name for image in images})) or "none yet; `bake build` makes one"
        raise UsageError(f"no image {name!r} was built here", hint=f"images: {known}")
    refuse_several(images, found, name)
    return newest_meant(found)


def all_meant(images: Sequence[Artifact], name: str) -> list[Artifact]:
    """Return all kept images of a name: those that bear it, else those whose function does."""
    exact = [image for image in images if name in (image.id, image.build)]
    named = [image for image in images if _bears(image, name)]
    return exact or named or [image for image in images if names_build(image.build, name)]


def _bears(image: Artifact, name: str) -> bool:
    source = source_of(image.build)
    return any(name in (own, f"{own}@{source}") for own in names_of(image))


def refuse_several(images: Sequence[Artifact], found: Sequence[Artifact], name: str) -> None:
    """Refuse a name that images of several builds bear.

    Args:
        images: the catalogue's.
        found: those that are meant.
        name: as the user wrote it.

    Raises:
        UsageError: there are several; it lists what to write in place of the name.
    """
    newest = {image.build: image for image in found}
    if len(newest) > 1:
        choices = ", ".join(short_name(images, image) for image in newest.values())
        raise UsageError(f"{name!r} means images of {len(newest)} builds", hint=f"name one of them: {choices}")


def short_name(images: Sequence[Artifact], image: Artifact) -> str:
    """Return the shortest name that means this image's build alone: `web`, else `web@laptop`, else the build's.

    Args:
        images: the catalogue's.
        image: one of them, or one that is about to be.
    """
    front = names_of(image)[-1]
    for name in (front, f"{front}@{source_of(image.build)}"):
        if {other.build for other in all_meant([*images, image], name)} == {image.build}:
            return name
    return image.build or image.id
