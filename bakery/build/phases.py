"""What a build does with a machine: its tasks, the seal, the smoke tests; and with the image, its post steps."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from bakery.build import package_mirror
from bakery.build.incremental import IncrementalBuild
from bakery.build.job import BoundStep
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope, user_text
from bakery.errors import (
    BakeryError,
    CleanupError,
    ConnectError,
    DriverError,
    ImagefileError,
    Interrupted,
    Location,
    PostError,
    SmokeError,
    TaskError,
    UsageError,
)
from bakery.events import Notice, Output, StepEnded, StepStarted, TestEnded
from bakery.imagefile.builds import Step
from bakery.imagefile.plan import call
from bakery.imagefile.user_code import describe, user_line
from bakery.model import Artifact
from bakery.smoke.identity import SCRIPT, Identity, compare
from bakery.state import progress
from bakery.util.retry import retry

if TYPE_CHECKING:
    from bakery.smoke.runner import PytestProcess


def run_task(scope: Scope, course: IncrementalBuild, step: Step, running: RunningMachine) -> None:
    """Run one task, again after a failure as often as it asks for; nothing where a checkpoint holds its result."""
    if course.is_restored(step):
        return
    with suppress(ImagefileError):  # another build's fix of the imagefile; where that does not fit, nothing changes
        course.rebind(scope.context.jobs.latest(scope.job, step))
    while True:
        try:
            _attempts(scope, course, step, running)
        except (TaskError, DriverError) as error:
            choice = _decided(scope, course, step, running, error)
            if choice == "skip":
                course.spoil(running)
                scope.emit(Notice(level="warning", message=f"task {step.name} failed and was skipped"))
                return
            if choice != "retry":
                scope.keep_machine = choice == "keep"
                raise
        else:
            return


def _decided(scope: Scope, course: IncrementalBuild, step: Step, running: RunningMachine, error: BakeryError) -> str:
    """Ask what to do, and again where the mended imagefile cannot be read: a slip must not cost the machine."""
    while (choice := _ask(scope, step, running, error)) == "retry":
        try:
            course.rebind(scope.context.jobs.reload(scope.job, step))
        except (ImagefileError, UsageError) as slip:
            error = slip
            continue
        break
    return choice


def _attempts(scope: Scope, course: IncrementalBuild, step: Step, running: RunningMachine) -> None:
    history: list[BaseException] = []
    retry(
        lambda: _once(scope, course, step, running, history),
        scope.context.cancel,
        on=TaskError,
        first=1,
        longest=30,
        attempts=scope.job.task(step).options.retries + 1,
    )


def _once(
    scope: Scope, course: IncrementalBuild, step: Step, running: RunningMachine, history: list[BaseException]
) -> None:
    task = scope.job.task(step)
    user, timeout = task.options.user or "root", task.options.timeout
    machine = running.machine.for_step(step.name, user=user, timeout=timeout)
    scope.emit(StepStarted(step=step.name, index=step.index, location=step.where, attempt=len(history) + 1))
    started = time.monotonic()
    course.begins(step, running)
    try:
        scope.context.cancel.check()
        with course.traced(task) as tracer:
            variables = tracer.variables(course.variables)
            call("task", task.function, (machine,), variables, scope.context.cancel.check)
    except BaseException as error:
        outcome = "cancelled" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
        ended = StepEnded(step=step.name, index=step.index, seconds=time.monotonic() - started, outcome=outcome)  # type: ignore[arg-type]  # one of two literals
        scope.emit(replace(ended, reason=user_text(error)))
        if not isinstance(error, Exception) or isinstance(error, Interrupted):
            raise  # nothing of the user's: that was made an Exception where it came out of their code
        raised = _as_error("task", step, error, TaskError)
        history.append(raised)
        if len(history) > 1:
            earlier = "\n".join(f"attempt {n}: {user_text(e)}" for n, e in enumerate(history[:-1], start=1))
            raised.why = f"{raised.why}\nearlier attempts:\n{earlier}".strip()
        raise raised from error
    seconds = time.monotonic() - started
    scope.emit(StepEnded(step=step.name, index=step.index, seconds=seconds, reason=course.reason(step)))
    course.passed(step, tracer, running)


def _as_error(kind: str, step: Step, error: Exception, family: type[BakeryError]) -> BakeryError:
    """Say in the user's terms what a user's function raised: the task, the error, and the user's own line."""
    where = user_line(error) or _location(step)
    if not isinstance(error, BakeryError):
        verb, why, hint = describe(error)
        return family(f"{kind} {step.name} {verb}", why=why, hint=hint, where=where)
    known = (family, DriverError, ConnectError, CleanupError, Interrupted) if family is TaskError else (family,)
    if not isinstance(error, known):  # a dead machine or a lost connection keeps its own exit code
        error = family(error.what, why=error.why, hint=error.hint, where=error.where)
    error.where = error.where or where
    return error


def _location(step: Step) -> Location | None:
    from pathlib import Path

    file, _, line = step.where.rpartition(":")
    return Location(Path(file), int(line)) if line.isdigit() else None


def _ask(scope: Scope, step: Step, running: RunningMachine, error: BakeryError) -> str:
    context = scope.context
    if context.options.on_failure != "ask" or context.ask is None:
        return "destroy"

    def shell() -> None:
        from bakery.machine.shell import open_shell

        open_shell(running.driver.endpoint(running.handle), running.claim.keys, running.claim.folder)

    with context.asking:  # one question at a time, also with many builds
        return context.ask(f"{scope.build.name}: {step.name}", error, shell, context.cancel.check)


def seal(scope: Scope, running: RunningMachine) -> None:
    """Remove from the machine what no image may hold, and remember who the machine was, for comparison."""
    from bakery.machine.seal import Seal
    from bakery.machine.seal import seal as sealed

    with scope.phase("seal"):
        progress.forget(running.claim.folder)  # nobody can log in when this is done
        scope.identity = Identity.parse(running.link.open().run(SCRIPT).stdout)
        package_mirror.leave(running)
        done = sealed(running.machine, scope.job.options.seal or Seal())
        scope.emit(Output(text="\n".join(done), stream="stdout", step="seal"))


def start_test_process(scope: Scope) -> PytestProcess:
    """Return the process that will run the smoke tests; it starts, and loads, where it is entered."""
    from bakery.build.smoke_tests import start_test_process as made

    return made(scope)


def smoke(scope: Scope, running: RunningMachine, process: PytestProcess | None = None) -> Identity:
    """Run the user's and the built-in tests on a fresh machine of the finished image.

    Args:
        scope: the build's.
        running: the machine.
        process: what runs them, if it was started already.

    Returns:
        Who that machine is.

    Raises:
        SmokeError: a test failed, or could not be run.
    """
    from bakery.build.smoke_tests import smoke_job, summary

    with scope.phase("smoke"):
        from bakery.smoke import run as run_tests

        report = run_tests(smoke_job(scope, running), running.claim, process)
        scope.tests_read = report.read
        if not report.ok:
            raise SmokeError(summary(report), hint=f"the tests' report is in {scope.context.run.path}")
        return report.identity


def check_clones_differ(scope: Scope, running: RunningMachine, first: Identity) -> None:
    """See that another clone of the image is another machine.

    Raises:
        SmokeError: they share what no two machines may share.
    """
    with scope.phase("clone"):
        shared = compare(first, Identity.parse(running.link.open().run(SCRIPT).stdout))
        outcome: Literal["passed", "failed"] = "failed" if shared else "passed"
        scope.emit(TestEnded(test="clones_differ", outcome=outcome, seconds=0.0, text="\n".join(shared)))
        if shared:
            raise SmokeError("two clones of the image are not two machines", why="\n".join(shared))


def post(scope: Scope, bound: BoundStep, artifact: Artifact) -> None:
    """Run one post step. The image is kept, whatever happens here.

    Raises:
        PostError: it raised.
    """
    step = bound.step
    scope.emit(StepStarted(step=step.name, index=step.index, location=step.where))
    started = time.monotonic()
    try:
        call("post", bound.function, (artifact,), scope.job.own_variables(), scope.context.cancel.check)
    except Exception as error:
        seconds = time.monotonic() - started
        scope.emit(
            StepEnded(step=step.name, index=step.index, seconds=seconds, outcome="failed", reason=user_text(error))
        )
        raised = _as_error("post step", step, error, PostError)
        if isinstance(raised, PostError):
            raised.artifact = artifact
        raised.hint = raised.hint or f"the image is kept: {artifact.id}"
        raise raised from error
    scope.emit(StepEnded(step=step.name, index=step.index, seconds=time.monotonic() - started))
