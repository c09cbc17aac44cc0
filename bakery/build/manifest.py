"""`--manifest`: what images are made of, as JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bakery import __version__
from bakery.build.begin import described
from bakery.disk.image_files import DISKS, disk_path
from bakery.imagefile.builds import Build, Plan
from bakery.model import Artifact, Json, to_json
from bakery.state import package_lists
from bakery.state.versions import VERSION

FORMAT: Final = 1
MARK: Final = "bakery-manifest"
"""By which a file is known to be one, before it is written over."""


def manifest(plan: Plan, artifacts: Mapping[str, Artifact], state: Path) -> str:
    """Return the manifest of what a run made, or found to be up to date.

    Args:
        plan: the run's.
        artifacts: its images, by the build's name.
        state: the project's `.bakery`.
    """
    images = [_image(build, artifacts[build.name], state) for build in plan.builds if build.name in artifacts]
    data: dict[str, Json] = {"type": MARK, "version": FORMAT, "bakery": __version__, "images": [*images]}
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _image(build: Build, image: Artifact, state: Path) -> dict[str, Json]:
    return {
        "build": build.name,
        "name": image.name,
        "version": str(image.data.get(VERSION, "")),
        "driver": image.driver,
        "id": image.id,
        "format": image.format,
        "size": image.size,
        "sha256": image.sha256,
        "disks": [_disk(image, disk) for disk in image.data.get(DISKS, ())],
        "created": image.created.isoformat() if image.created else None,
        "run": str(image.data.get("run", "")),
        "key": image.key,
        "base": {"is": described(build.boot.base), "key": to_json(image.data.get("base_key"))},
        "values": [_value(value) for value in build.variables],
        "tasks": [step.name for step in build.steps],
        "tests": {"verdict": image.verdict, "results": [*_results(image.data.get("results", ()))]},
        "packages": to_json(package_lists.of(state, image)),
    }


def _disk(image: Artifact, disk: Mapping[str, Any]) -> Json:
    path = disk_path(image.path, str(disk["name"]))
    return {"name": str(disk["name"]), "id": str(path), "size": int(disk["size"]), "sha256": str(disk["sha256"])}


def _value(value: Any) -> Json:
    shown: dict[str, Json] = {"name": value.name, "origin": value.origin, "secret": value.secret}
    return shown if value.secret else {**shown, "value": to_json(value.value)}


def _results(results: Iterable[Any]) -> list[Json]:
    return [{"test": str(test), "outcome": str(outcome)} for test, outcome in results]
