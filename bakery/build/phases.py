"""What a build does with a machine beside its tasks: the seal, the smoke tests; and with the image, its post steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from bakery.build import package_mirror
from bakery.build.build_events import user_text
from bakery.build.job import BoundStep
from bakery.build.nodes import NodeNetwork
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.user_errors import as_error
from bakery.errors import BakeryError, PostError, SmokeError
from bakery.events import BootTimed, Output, PackagesListed, StepEnded, StepStarted, TestEnded
from bakery.imagefile.plan import call
from bakery.machine import boot_times, packages
from bakery.model import Artifact
from bakery.smoke.identity import SCRIPT, Identity, compare
from bakery.state import package_lists, progress
from bakery.util.results import Lost, TimedOut

if TYPE_CHECKING:
    from bakery.build.smoke_tests import SuiteChoice
    from bakery.smoke.whole import StartedTests


def seal(scope: Scope, running: RunningMachine) -> None:
    """Remove from the machine what no image may hold, and remember who the machine was, for comparison."""
    from bakery.machine.seal import Seal
    from bakery.machine.seal import seal as sealed

    with scope.phase("seal"):
        progress.forget(running.claim.folder)  # nobody can log in when this is done
        scope.identity = Identity.parse(running.ask(SCRIPT, "look who the machine is").stdout)
        _list_packages(scope, running)
        package_mirror.leave(running)
        done = sealed(running.machine, scope.job.options.seal or Seal())
        scope.emit(Output(text="\n".join(done), stream="stdout", step="seal"))


def _list_packages(scope: Scope, running: RunningMachine) -> None:
    """Note what is installed, and tell how that differs from the last image of this build."""
    scope.packages = packages.parse(running.ask(packages.SCRIPT, "list packages").stdout)
    if not scope.packages:
        return
    state = scope.run.state
    last = next((image for image in reversed(state.images()) if image.build == scope.build.name), None)
    before = package_lists.of(state.folder, last)
    told = PackagesListed(count=len(scope.packages))
    if last is not None and before:
        different = packages.changes(before, scope.packages)
        told = replace(
            told, before=last.name, added=different.added, removed=different.removed, changed=different.changed
        )
    scope.emit(told)


def smoke(
    scope: Scope,
    running: RunningMachine,
    started: StartedTests | None = None,
    *,
    choice: SuiteChoice | None = None,
    clones: Sequence[RunningMachine] = (),
    nodes: NodeNetwork | None = None,
) -> Identity:
    """Run the user's and the built-in tests on a fresh machine of the finished image, then the pytest suites.

    Those that want it run once more after a reboot.

    Args:
        scope: the build's.
        running: the machine.
        started: the processes that run the tests, if they were started already.
        choice: what the user asks of suites besides.
        clones: other machines of the image, for tests that want several.
        nodes: machines of other images, on one network with it.

    Returns:
        Who that machine is.

    Raises:
        SmokeError: a test failed, or could not be run.
    """
    from bakery.build.after_reboot import test_after_reboot
    from bakery.build.smoke_tests import smoke_job, suite_run, summary

    with scope.phase("smoke"):
        from bakery.smoke.whole import run_all

        nodes = nodes or NodeNetwork()
        job = smoke_job(scope, running, clones, nodes.others)
        suite = suite_run(scope.job, scope.run.state, choice)
        report = run_all(job, suite, running.claim, started, choice.terminal if choice else None)
        report = test_after_reboot(scope, running, report, running.claim, nodes)
        scope.tests_read = report.read
        scope.results = tuple((result.test, result.outcome) for result in report.results)
        _time_boot(scope, running)
        if not report.ok:
            raise SmokeError(summary(report), hint=f"the tests' report is in {scope.run.folder.path}")
        return report.identity


def _time_boot(scope: Scope, running: RunningMachine) -> None:
    """Tell how the tested machine booted; whatever its tests have left of it."""
    with suppress(BakeryError, Lost, TimedOut):  # a figure less in the report
        times = boot_times.parse(running.link.open().run(boot_times.SCRIPT).stdout)
        if times.stages:
            scope.emit(BootTimed(stages=times.stages, units=times.units))


def check_clones_differ(scope: Scope, running: RunningMachine, first: Identity) -> None:
    """See that another clone of the image is another machine.

    Raises:
        SmokeError: they share what no two machines may share.
    """
    with scope.phase("clone"):
        shared = compare(first, Identity.parse(running.ask(SCRIPT, "look who the machine is").stdout))
        outcome: Literal["passed", "failed"] = "failed" if shared else "passed"
        scope.emit(TestEnded(test="clones_differ", outcome=outcome, seconds=0.0, text="\n".join(shared)))
        if shared:
            raise SmokeError("two clones of the image are not two machines", why="\n".join(shared))


def run_post_step(scope: Scope, bound: BoundStep, artifact: Artifact) -> None:
    """Run one post step. The image is kept, whatever happens here.

    Raises:
        PostError: it raised.
    """
    step = bound.step
    scope.emit(StepStarted(step=step.name, index=step.index, location=step.where))
    started = time.monotonic()
    try:
        call("post", bound.function, (artifact,), scope.job.own_variables(), scope.run.cancel.check)
    except Exception as error:
        seconds = time.monotonic() - started
        scope.emit(
            StepEnded(step=step.name, index=step.index, seconds=seconds, outcome="failed", reason=user_text(error))
        )
        raised = as_error("post step", step, error, PostError)
        if isinstance(raised, PostError):
            raised.artifact = artifact
        raised.hint = raised.hint or f"the image is kept: {artifact.id}"
        raise raised from error
    scope.emit(StepEnded(step=step.name, index=step.index, seconds=time.monotonic() - started))
