"""What the smoke tests said of an image, written onto it, and whether another image may stand on it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from bakery.build.context import RunContext
from bakery.build.node_images import node_keys
from bakery.build.verdict_key import files_of, noted, tests_key
from bakery.disk.bases.cloud_image import CloudImage
from bakery.errors import BakeryError, SmokeError
from bakery.events import Notice
from bakery.imagefile.builds import Build
from bakery.model import Artifact
from bakery.state.image_names import short_name
from bakery.state.project import State

if TYPE_CHECKING:
    from bakery.build.scope import Scope

DOUBTS: Final = {"untested": "was not tested", "failed": "failed its tests"}
"""Verdicts that whoever stands on an image must hear of, as a sentence says them."""


def passed(artifact: Artifact, scope: Scope) -> Artifact:
    """Write onto an image that it passed the tests as they are now."""
    job, run = scope.job, scope.run
    read = noted(scope.tests_read, job, run.state.cache)
    key = None if read is None else tests_key(job, run.state.cache)
    image = replace(
        artifact,
        verdict="passed",
        data={
            **artifact.data,
            "tests": key,
            "tests_read": read,
            "results": [*map(list, scope.results)],
            "nodes": node_keys(job.build, run.state, run.artifacts),
        },
    )
    run.inputs.update(files_of(image.data, job.folder))
    return image


def with_verdict(scope: Scope, artifact: Artifact) -> Artifact:
    """Write onto an image which tests it passed, or that it was not tested."""
    return passed(artifact, scope) if scope.run.options.test else untested(artifact)


@contextmanager
def judging(scope: Scope, artifact: Artifact) -> Generator[None]:
    """Say what becomes of an image whose tests or inspection fail; one that was kept before is marked so."""
    try:
        yield
    except SmokeError as error:
        kept = mark_failed(artifact, scope)
        fate = "the image was kept before, and is marked as failed" if kept else "no image was kept"
        error.hint = f"{fate}; {error.hint}".removesuffix("; ")
        raise


def untested(artifact: Artifact) -> Artifact:
    """Write onto an image that no test ran; what is known of one that was kept before stays."""
    if artifact.verdict:
        return artifact
    return replace(artifact, verdict="untested", data={**artifact.data, "tests": None})


def mark_failed(artifact: Artifact, scope: Scope) -> bool:
    """Write into the catalogue that an image failed, and return whether it is there."""
    state = scope.run.state
    if all(image.id != artifact.id for image in state.images()):
        return False
    try:
        state.mark_image(replace(artifact, verdict="failed", data={**artifact.data, "tests": None}))
    except OSError as error:  # what brought us here is worth more than the mark
        scope.emit(Notice(level="warning", message=f"the catalogue does not say that {artifact.name} failed: {error}"))
    return True


def warn_of_base(run: RunContext, build: Build, base: Artifact | None) -> None:
    """Warn where an image stands on one that nobody has tested, or that failed its tests.

    Args:
        run: the run.
        build: the one that stands on another.
        base: what another build of this run made for it.
    """
    image = base or _kept_elsewhere(build.boot.base)
    if image is not None and image.verdict in DOUBTS:
        run.emit(
            Notice(
                build=build.name,
                level="warning",
                message=f"it stands on {image.name}, which {DOUBTS[image.verdict]}",
                hint=f"`bake test {short_name(run.state.images(), image)}` tests it",
            )
        )


def _kept_elsewhere(base: Any) -> Artifact | None:
    """Return the image that a base names, where bakery keeps one: in this project, or in another of this host."""
    if isinstance(base, Artifact):
        return base
    for address in base.urls if isinstance(base, CloudImage) else ():
        path = Path(unquote(urlsplit(address).path))
        for folder in path.parents if urlsplit(address).scheme == "file" else ():
            if folder.name == ".bakery":
                return _in_catalogue(path, folder)
    return None


def _in_catalogue(path: Path, folder: Path) -> Artifact | None:
    try:
        images = State(folder, folder).images()
    except (BakeryError, OSError):
        return None  # another project's trouble
    return next((image for image in images if image.id in (str(path), str(path.resolve()))), None)
