"""Testing a kept image once more: `bake test IMAGE`. Its verdict is written into the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bakery.build.context import RunContext
from bakery.build.inspection import inspect_image
from bakery.build.job import Job
from bakery.build.nodes import beside
from bakery.build.phases import smoke
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.smoke_tests import SuiteChoice, other_machines, started_tests
from bakery.build.verdicts import mark_failed, passed
from bakery.errors import SmokeError
from bakery.model import Artifact
from bakery.smoke.whole import StartedTests


def retest(run: RunContext, job: Job, artifact: Artifact, choice: SuiteChoice | None = None) -> None:
    """Run an image's smoke tests on a throw-away machine of it, and look into its file.

    Args:
        run: the visit's.
        job: the build that made the image, or that lends it its tests.
        artifact: the image; where it is in the catalogue and the tests are its own, it gets their verdict.
        choice: what the user asks of suites. With other paths or arguments than its own, the image keeps its verdict.

    Raises:
        SmokeError: a test failed, or the inspection found what may not be in an image.
    """
    with (
        Scope(run, job) as scope,
        started_tests(scope, choice) as started,
        scope.machine(artifact, role="smoke") as running,
    ):
        own = artifact.build == job.name  # else somebody else's disk, or another image's tests: no verdict on it
        tests = partial(_smoke, scope, running, artifact, choice, started)
        if own and (choice is None or choice.is_whole):
            _judge(scope, artifact, tests)
        else:
            tests()


def _judge(scope: Scope, artifact: Artifact, tests: Callable[[], None]) -> None:
    """Run an image's own tests, look into it, and write down their verdict."""
    inspection = scope.in_background(partial(inspect_image, scope, artifact))
    try:
        tests()
        inspection.result()
    except SmokeError as error:
        if mark_failed(artifact, scope):
            error.hint = f"the image stays, and is marked as failed; {error.hint}".removesuffix("; ")
        raise
    scope.run.state.mark_image(passed(artifact, scope))


def _smoke(
    scope: Scope, running: RunningMachine, artifact: Artifact, choice: SuiteChoice | None, started: StartedTests
) -> None:
    """Run the tests, beside as many other machines as are asked for."""
    clones = other_machines(scope, artifact, choice.clones if choice else 1)
    with clones as others, beside(scope, running) as nodes:
        smoke(scope, running, started, choice=choice, clones=others, nodes=nodes)
