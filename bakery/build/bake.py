"""The page that tells the story: how one build becomes a tested image."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

from bakery.build.context import RunContext
from bakery.build.incremental import IncrementalBuild, find_up_to_date_image
from bakery.build.inspection import inspect_image
from bakery.build.job import Job
from bakery.build.phases import check_clones_differ, post, run_task, seal, smoke, start_test_process
from bakery.build.scope import Scope
from bakery.cache.checkpoints.lease import Lease
from bakery.drivers.publisher import Publisher
from bakery.model import Artifact


def bake(job: Job, context: RunContext, base: Artifact | None = None) -> Artifact:
    """Launch, provision, seal, capture, relaunch, smoke, keep.

    Args:
        job: what to make.
        context: the run.
        base: the image that the build stands on, where another build made it.

    Raises:
        BakeryError: of the family whose exit code says what failed.
    """
    with Lease(context.store(job.name)) as lease, Scope(context, job) as scope:  # undoes what is still ours
        course = IncrementalBuild(scope, base, lease)
        artifact, _ = find_up_to_date_image(context, job, base, ask=True)  # only its tests have changed
        if artifact is None:
            artifact = _publish(scope, course, base) if job.build.publishes else _make(scope, course)
        with course.judging(artifact):
            looked = scope.beside(partial(inspect_image, scope, artifact))  # at its file, while a machine boots from it
            if context.options.test:
                _test(scope, artifact, looked)
            looked.result()
        artifact = scope.keep(course.tested(artifact))  # from here it is the user's
    for step in scope.job.post:
        post(scope, step, artifact)
    return artifact


def _make(scope: Scope, course: IncrementalBuild) -> Artifact:
    """Provision a machine, task by task, and capture it."""
    course.prepare()
    with ExitStack() as stack:
        machine = course.start(stack)
        with scope.limited("provision"):
            for task in scope.build.steps:
                run_task(scope, course, task, machine)  # is restored, or runs and is saved
        seal(scope, machine)
        return course.sign(scope.capture(machine))


def _publish(scope: Scope, course: IncrementalBuild, local: Artifact | None) -> Artifact:
    """Take the image of another build to a provider, as it is."""
    course.prepare()
    publisher = scope.build.boot
    assert isinstance(publisher, Publisher)  # noqa: S101  that is what such a build is
    assert local is not None  # noqa: S101  it stands on the build that makes it
    return course.sign(scope.publish(publisher, local))


def _test(scope: Scope, artifact: Artifact, looked: Future[None]) -> None:
    """Run the smoke tests on fresh machines of an image, once the look into its file has found nothing."""
    with start_test_process(scope) as process, scope.machine(artifact, role="smoke") as machine:  # the very same line
        looked.result()
        first = smoke(scope, machine, process)
    for _ in range(1, scope.context.options.clones):
        with scope.machine(artifact, role="clone") as machine:
            check_clones_differ(scope, machine, first)
