"""The packages of images that were kept: lists by their digest, so that equal ones are one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bakery.model import Artifact
from bakery.util.files import write_whole

FOLDER: Final = "packages"
KEY: Final = "packages"
"""In an image's data: the digest of its list; empty or missing where nobody knows."""


def save(folder: Path, packages: Mapping[str, str]) -> str:
    """Write a list, and return its digest; an empty one is none.

    Args:
        folder: the project's `.bakery`.
        packages: versions by name.
    """
    if not packages:
        return ""
    text = json.dumps(dict(packages), sort_keys=True, indent=0)
    name = hashlib.sha256(text.encode()).hexdigest()[:40]
    path = folder / FOLDER / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    return name


def of(folder: Path, image: Artifact | None) -> dict[str, str]:
    """Return an image's packages; none where nobody knows."""
    name = "" if image is None else str(image.data.get(KEY, ""))
    try:
        known = json.loads((folder / FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it was never written, or is damaged: a comparison less
        return {}
    return {str(package): str(version) for package, version in known.items()} if isinstance(known, dict) else {}


def sweep(folder: Path, images: Iterable[Artifact]) -> None:
    """Delete the lists that belong to no image any more."""
    needed = {str(image.data.get(KEY, "")) for image in images}
    for path in (folder / FOLDER).glob("*.json"):
        if path.stem not in needed:
            with suppress(OSError):  # another user's, after a run with sudo
                path.unlink()
