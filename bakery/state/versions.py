"""Numbers of images that are kept beside each other: given once each, and which of them is current."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bakery.errors import PreflightError
from bakery.model import Artifact
from bakery.util.files import write_whole

FILE: Final = "versions.json"
FAMILY: Final = "family"
"""In the data of an image with a version: the name that its function returned, without the version."""
VERSION: Final = "version"
CURRENT: Final = "current"
PINNED: Final = "pinned"
"""True of the current image where somebody went back to it: what was made before does not take its place again."""


def take(folder: Path, build: str, front: str, images: Iterable[Artifact]) -> str:
    """Return the next version of a build. A number is never given twice, also when its image is gone.

    Args:
        folder: the project's `.bakery`.
        build: the build's name.
        front: what stands before the number, `1.4`; empty for the number alone.
        images: what the catalogue has, for where the numbers' file is lost.

    Raises:
        PreflightError: the file is damaged.
    """
    from filelock import FileLock  # slow to import

    with FileLock(str(folder / "versions.lock")):
        known = _read(folder / FILE)
        number = _next(known, build, front, images)
        known.setdefault(build, {})[front] = number
        write_whole(folder / FILE, json.dumps({"version": 1, "given": known}, indent=2), durable=True)
    return _text(front, number)


def foresee(folder: Path, build: str, front: str, images: Iterable[Artifact]) -> str:
    """Return what `take` would, and give nothing."""
    return _text(front, _next(_read(folder / FILE), build, front, images))


def _next(known: Mapping[str, Mapping[str, int]], build: str, front: str, images: Iterable[Artifact]) -> int:
    first = 0 if front else 1
    given = [known.get(build, {}).get(front, first - 1)]
    given += [number for image in images if image.build == build and (number := _number(image, front)) is not None]
    return max(given) + 1


def _number(image: Artifact, front: str) -> int | None:
    text = str(image.data.get(VERSION, ""))
    before, _, last = text.rpartition(".")
    return int(last) if before == front and last.isdecimal() else None


def _text(front: str, number: int) -> str:
    return f"{front}.{number}" if front else str(number)


def _read(path: Path) -> dict[str, dict[str, int]]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))["given"]
        return {build: {front: int(number) for front, number in by.items()} for build, by in given.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PreflightError(
            f"the file of images' versions is damaged: {path}",
            why=f"{type(error).__name__}: {error}",
            hint="delete it: numbers then go on from those of the images that are there",
        ) from error


# ---- which one is current -------------------------------------------------------------------------------------------


def is_current(image: Artifact) -> bool:
    """Say whether an image is what its family's name means."""
    return bool(image.data.get(CURRENT))


def versioned(image: Artifact, family: str, version: str) -> Artifact:
    """Return an image as the current one of its family."""
    return replace(image, data={**image.data, FAMILY: family, VERSION: version, CURRENT: True, PINNED: False})


def make_current(images: Iterable[Artifact], chosen: Artifact, *, pinned: bool = False) -> list[Artifact]:
    """Return the catalogue's images with another current one of the chosen image's build."""
    return [_marked(image, image.id == chosen.id, pinned) if _kin(image, chosen) else image for image in images]


def current_of(images: Iterable[Artifact], image: Artifact) -> Artifact | None:
    """Return the current image of the same build; None where there is none."""
    return next((other for other in images if _kin(other, image) and is_current(other)), None)


def newest_meant(images: list[Artifact]) -> Artifact:
    """Return which of several images of one name is meant: the current version, else the newest."""
    return next((image for image in reversed(images) if is_current(image)), images[-1])


def _kin(image: Artifact, other: Artifact) -> bool:
    return VERSION in image.data and (image.build, image.data[FAMILY]) == (other.build, other.data.get(FAMILY))


def _marked(image: Artifact, current: bool, pinned: bool) -> Artifact:
    marks: dict[str, Any] = {CURRENT: current, PINNED: current and pinned}
    return replace(image, data={**image.data, **marks})
