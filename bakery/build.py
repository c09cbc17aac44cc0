"""The page that tells the story: how one build becomes a tested image."""

from __future__ import annotations

from bakery.context import Context
from bakery.model import Artifact
from bakery.phases import post, seal, smoke, start, step
from bakery.plan import Build
from bakery.scope import Scope


def bake(build: Build, context: Context, base: Artifact | None = None) -> Artifact:
    """Launch, provision, seal, capture, relaunch, smoke, keep.

    Args:
        build: what to make.
        context: the run.
        base: the image that the build stands on, where another build made it.

    Raises:
        BakeryError: of the family whose exit code says what failed.
    """
    with Scope(context, build) as scope:  # undoes what is still ours, in reverse
        with scope.machine(start(scope, base)) as machine:
            for task in build.steps:
                step(scope, task, machine)  # restores, or runs and checkpoints
            seal(scope, machine)
            artifact = scope.capture(machine)
        if context.options.test:
            with scope.machine(artifact, role="smoke") as machine:  # the very same line
                smoke(scope, machine)
        artifact = scope.keep(artifact)  # from here it is the user's
    for task in build.post:
        post(scope, task, artifact)
    return artifact
