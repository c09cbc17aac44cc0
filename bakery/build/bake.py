"""The page that tells the story: how one build becomes a tested image."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial

from bakery.build.context import RunContext
from bakery.build.incremental import IncrementalBuild
from bakery.build.inspection import ended_by, inspect_image
from bakery.build.job import Job
from bakery.build.keeping import capture, keep, publish
from bakery.build.nodes import beside
from bakery.build.pause import pause_after_all
from bakery.build.phases import check_clones_differ, run_post_step, seal, smoke
from bakery.build.scope import Scope
from bakery.build.smoke_tests import check_suites, other_machines, started_tests
from bakery.build.tasks import run_task
from bakery.build.up_to_date import find_up_to_date_image
from bakery.build.verdicts import judging, with_verdict
from bakery.errors import CleanupError
from bakery.model import Artifact


def bake(job: Job, run: RunContext, base: Artifact | None = None) -> Artifact:
    """Launch, provision, seal, capture, relaunch, smoke test, keep.

    Args:
        job: what to make.
        run: the run.
        base: the image that the build stands on, where another build made it.

    Raises:
        BakeryError: of the family whose exit code says what failed.
    """
    kept: Artifact | None = None
    try:
        with Scope(run, job) as scope:  # destroys whatever is still ours, in reverse
            image = find_up_to_date_image(job, run, base, ask=True)  # only its tests have changed
            check_suites(scope)
            artifact = image.artifact if image else make_image(scope, base)
            verify(scope, artifact)
            artifact = kept = keep(scope, with_verdict(scope, artifact))  # from here it is the user's
    except CleanupError as error:
        if kept is not None:
            error.artifact = kept
            without = ", without its post steps" if job.post else ""
            error.hint = f"{error.hint}; the image is kept{without}: {kept.id}"
        raise
    for step in scope.job.post:
        run_post_step(scope, step, artifact)
    return artifact


def make_image(scope: Scope, base: Artifact | None) -> Artifact:
    """Provision a machine, task by task, and capture it; or take the image of another build to a provider."""
    steps = IncrementalBuild(scope, base)
    steps.prepare()
    if scope.build.publishes:
        return steps.sign(publish(scope, base))
    with steps.machine() as machine:  # resumed, restored from a checkpoint, or launched
        with scope.limited("provision"):
            for step in scope.build.steps:
                run_task(steps, step, machine)
            pause_after_all(scope, machine)
        seal(scope, machine)
        return steps.sign(capture(scope, machine))


def verify(scope: Scope, artifact: Artifact) -> None:
    """Look into the image's file, and test machines that are booted from it; what is found there ends it at once."""
    with judging(scope, artifact):
        inspection = scope.in_background(partial(inspect_image, scope, artifact))
        if scope.run.options.test:
            with ended_by(inspection, scope.run.cancel):
                test_machines(scope, artifact, inspection)
        inspection.result()


def test_machines(scope: Scope, artifact: Artifact, inspection: Future[None]) -> None:
    """Run the tests on a machine of the image, and compare further ones with it where that is wanted."""
    with started_tests(scope) as tests, scope.machine(artifact, role="smoke") as machine:
        inspection.result()  # what may not be kept is not tested either
        with other_machines(scope, artifact, scope.run.options.clones) as clones, beside(scope, machine) as nodes:
            identity = smoke(scope, machine, tests, clones=clones, nodes=nodes)
            for clone in clones:
                check_clones_differ(scope, clone, identity)
