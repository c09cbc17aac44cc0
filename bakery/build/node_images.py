"""The images whose machines run beside the one that is tested: which they are now, and whether they still are."""

from __future__ import annotations

from collections.abc import Mapping

from bakery.errors import PreflightError
from bakery.imagefile.builds import Build
from bakery.model import EMPTY, Artifact
from bakery.state.project import State
from bakery.state.versions import newest_meant


def node_images(build: Build, state: State, made: Mapping[str, Artifact] = EMPTY) -> dict[str, Artifact]:
    """Return the images of a build's nodes, by the names of their machines.

    Args:
        build: the one that is tested.
        state: where images are kept.
        made: what this run has made or found to be up to date, by build.

    Raises:
        PreflightError: there is none of one.
    """
    found = {name: made.get(maker) or _kept(maker, state) for name, maker in build.nodes.items()}
    if missing := sorted({build.nodes[name] for name, image in found.items() if image is None}):
        raise PreflightError(
            f"{build.name} is tested beside {', '.join(missing)}, of which no image is kept",
            hint=f"bake build {' '.join(sorted({name.partition('@')[0] for name in missing}))}",
        )
    return {name: image for name, image in found.items() if image is not None}


def node_keys(build: Build, state: State, made: Mapping[str, Artifact] = EMPTY) -> dict[str, str]:
    """Return what tells a build's nodes apart from others of their names; without those of which there is no image."""
    found = {name: made.get(maker) or _kept(maker, state) for name, maker in build.nodes.items()}
    return {name: image.key or image.sha256 or image.id for name, image in found.items() if image is not None}


def _kept(maker: str, state: State) -> Artifact | None:
    images = [image for image in state.images() if image.build == maker]
    return newest_meant(images) if images else None
