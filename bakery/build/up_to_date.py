"""The image of a build of which nothing has changed: found from keys alone, without a machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.build.node_images import node_keys
from bakery.build.step_keys import base_key, image_key, look_up_steps
from bakery.build.user_errors import about_source
from bakery.build.verdict_key import files_of, holds, tests_key
from bakery.cache.inputs.external import LocalInput
from bakery.disk.bases.base import Base
from bakery.errors import DriverError, PreflightError
from bakery.model import Artifact


@dataclass(frozen=True)
class UpToDateImage:
    """An image that a build would make again as it is.

    Args:
        artifact: the image, which is intact.
        tested: whether it passed the tests as they are now, or nobody asked for tests.
    """

    artifact: Artifact
    tested: bool


def find_up_to_date_image(
    job: Job, run: RunContext, base: Artifact | None, *, ask: bool = False
) -> UpToDateImage | None:
    """Find the image of a build of which nothing has changed.

    Args:
        job: the build.
        run: the run.
        base: the image that it stands on, where another build made it.
        ask: also ask a provider which base is meant (the newest of a name).
    """
    if not run.options.cache or run.options.refresh:
        return None
    boot = job.build.boot if base is None else job.build.boot.on(base)
    work = run.work(job.name)
    parent = base_key(boot.base, work)
    if parent is None and ask and not isinstance(boot.base, Base):
        with about_source(job):
            parent = run.drivers.get(job.build.driver).prepare(boot, work)
    if parent is None:
        return None
    keys = look_up_steps(job, parent, options=run.options, state=run.state)
    if len(keys.hits) < len(job.tasks) or keys.last is None:
        return None
    key = image_key(job, keys.last)
    for image in reversed(run.state.images()):
        if image.key == key and image.build == job.name and _is_intact(run, image):
            for hit in keys.hits:
                run.inputs.update(hit.files)
            run.inputs.add(LocalInput("file", job.imagefile))
            run.inputs.update(files_of(image.data, job.folder))
            return UpToDateImage(_taken_over(run, image), not run.options.test or _verdict_holds(job, image, run))
    return None


def _taken_over(run: RunContext, image: Artifact) -> Artifact:
    """Return an image as this imagefile's: the one that made it was moved, or another says the same."""
    if image.data.get("imagefile") == run.imagefile.name:
        return image
    image = replace(image, data={**image.data, "imagefile": run.imagefile.name})
    run.state.mark_image(image)
    return image


def _verdict_holds(job: Job, image: Artifact, run: RunContext) -> bool:
    """Say whether an image passed the tests as they are now, beside the machines that it is tested beside."""
    cache = run.state.cache
    if image.data.get("nodes", {}) != node_keys(job.build, run.state, run.artifacts):
        return False
    key = tests_key(job, cache)
    return key is not None and image.data.get("tests") == key and holds(image.data, job, cache)


def _is_intact(run: RunContext, image: Artifact) -> bool:
    try:
        return run.drivers.get(image.driver).intact(image)
    except (NotImplementedError, DriverError, PreflightError):
        return False  # what cannot be asked is not reused; the build itself says what is wrong there
