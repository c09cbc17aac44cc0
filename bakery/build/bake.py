"""The page that tells the story: how one build becomes a tested image."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from bakery.build.context import Context
from bakery.build.incremental import Course, standing
from bakery.build.inspection import gate
from bakery.build.phases import differ, post, seal, smoke, step, tester
from bakery.build.scope import Scope
from bakery.cache.checkpoints.lease import Lease
from bakery.drivers.publisher import Publisher
from bakery.imagefile.plan import Build
from bakery.model import Artifact


def bake(build: Build, context: Context, base: Artifact | None = None) -> Artifact:
    """Launch, provision, seal, capture, relaunch, smoke, keep.

    Args:
        build: what to make.
        context: the run.
        base: the image that the build stands on, where another build made it.

    Raises:
        BakeryError: of the family whose exit code says what failed.
    """
    with Lease(context.store(build.name)) as lease, Scope(context, build) as scope:  # undoes what is still ours
        course = Course(scope, base, lease)
        artifact, _ = standing(context, build, base, ask=True)  # only its tests have changed
        if artifact is None:
            artifact = _publish(scope, course, base) if build.publishes else _make(scope, course)
        if context.options.test:
            looked = scope.beside(partial(gate, scope, artifact))  # at its file, while a machine boots from it
            with tester(scope) as process, scope.machine(artifact, role="smoke") as machine:  # the very same line
                looked.result()
                first = smoke(scope, machine, process)
            for _ in range(1, context.options.clones):
                with scope.machine(artifact, role="clone") as machine:
                    differ(scope, machine, first)
        artifact = scope.keep(course.tested(artifact))  # from here it is the user's
    for task in build.post:
        post(scope, task, artifact)
    return artifact


def _make(scope: Scope, course: Course) -> Artifact:
    """Provision a machine, task by task, and capture it."""
    course.prepare()
    with ExitStack() as stack:
        machine = course.start(stack)
        with scope.limited("provision"):
            for task in scope.build.steps:
                step(scope, course, task, machine)  # is restored, or runs and is saved
        seal(scope, machine)
        return course.sign(scope.capture(machine))


def _publish(scope: Scope, course: Course, local: Artifact | None) -> Artifact:
    """Take the image of another build to a provider, as it is."""
    course.prepare()
    publisher = scope.build.boot
    assert isinstance(publisher, Publisher)  # noqa: S101  that is what such a build is
    assert local is not None  # noqa: S101  it stands on the build that makes it
    return course.sign(scope.publish(publisher, local))
