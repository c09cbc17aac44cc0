"""A task of a build: run on its machine, tried again, asked about, and written down for the next build."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from bakery.build import idempotence
from bakery.build.build_events import user_text
from bakery.build.incremental import IncrementalBuild
from bakery.build.pause import pause_before
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.user_errors import as_error
from bakery.errors import BakeryError, DriverError, ImagefileError, Interrupted, TaskError, UsageError
from bakery.events import Notice, StepEnded, StepStarted
from bakery.imagefile.builds import Step
from bakery.imagefile.plan import call
from bakery.util.retry import retry


def run_task(steps: IncrementalBuild, step: Step, machine: RunningMachine) -> None:
    """Run one task, again after a failure as often as it asks for; nothing where a checkpoint holds its result.

    Args:
        steps: the build's way.
        step: which task.
        machine: where it runs.

    Raises:
        TaskError: it failed for good.
        DriverError: the machine did.
    """
    if not steps.is_restored(step):
        pause_before(steps.scope, step, machine)
        _TaskRun(steps.scope, steps, step, machine).until_it_is_decided()


@dataclass
class _TaskRun:
    """One task while it runs."""

    scope: Scope
    steps: IncrementalBuild
    step: Step
    machine: RunningMachine
    failures: list[BakeryError] = field(default_factory=list[BakeryError])

    def until_it_is_decided(self) -> None:
        """Run the task until it succeeds, or somebody has decided what its failure means."""
        with suppress(ImagefileError):  # another build's fix of the imagefile; where that does not fit, nothing changes
            self.steps.rebind(self.scope.run.jobs.latest(self.scope.job, self.step))
        while True:
            try:
                self._attempts()
            except (TaskError, DriverError) as error:
                choice = self._decide(error)
                if choice == "skip":
                    self.steps.spoil(self.machine)
                    self.scope.emit(Notice(level="warning", message=f"task {self.step.name} failed and was skipped"))
                    return
                if choice != "retry":
                    self.scope.machines.keep_failed = choice == "keep"
                    raise
            else:
                return

    def _decide(self, error: BakeryError) -> str:
        """Ask what to do, and again where the mended imagefile cannot be read: a slip must not cost the machine."""
        while (choice := self._ask(error)) == "retry":
            try:
                self.steps.rebind(self.scope.run.jobs.reload(self.scope.job, self.step))
            except (ImagefileError, UsageError) as slip:
                error = slip
                continue
            break
        return choice

    def _ask(self, error: BakeryError) -> str:
        run, machine = self.scope.run, self.machine
        if run.options.on_failure != "ask" or run.ask is None:
            return "destroy"

        def shell() -> None:
            from bakery.machine.shell import open_shell

            open_shell(machine.driver.endpoint(machine.handle), machine.claim.keys, machine.claim.folder)

        with run.asking:  # one question at a time, also with many builds
            return run.ask(f"{self.scope.build.name}: {self.step.name}", error, shell, run.cancel.check)

    def _attempts(self) -> None:
        self.failures = []
        retry(
            self._attempt,
            self.scope.run.cancel,
            on=TaskError,
            first=1,
            longest=30,
            attempts=self.scope.job.task(self.step).options.retries + 1,
        )

    def _attempt(self) -> None:
        scope, step, task = self.scope, self.step, self.scope.job.task(self.step)
        machine = self.machine.machine.for_step(
            step.name, user=task.options.user or "root", timeout=task.options.timeout
        )
        scope.emit(StepStarted(step=step.name, index=step.index, location=step.where, attempt=len(self.failures) + 1))
        started = time.monotonic()
        self.steps.begins(step, self.machine)
        try:
            scope.run.cancel.check()
            with self.steps.traced(task) as tracer:
                variables = tracer.variables(self.steps.variables)

                def run() -> None:
                    call("task", task.function, (machine,), variables, scope.run.cancel.check)

                if task.options.idempotent:
                    idempotence.run_twice(machine, run)
                else:
                    run()
        except BaseException as error:
            self._tell_failure(error, time.monotonic() - started)
            if not isinstance(error, Exception) or self._stopped(error):
                raise  # nothing of the user's: that was made an Exception where it came out of their code
            raise self._failure(error) from error
        seconds = time.monotonic() - started
        scope.emit(StepEnded(step=step.name, index=step.index, seconds=seconds, reason=self.steps.reason(step)))
        self.steps.passed(step, tracer, self.machine)

    def _stopped(self, error: BaseException) -> bool:
        """Say whether the run was told to stop; a task may raise an `Interrupted` of its own."""
        return isinstance(error, Interrupted) and bool(self.scope.run.cancel.reason)

    def _tell_failure(self, error: BaseException, seconds: float) -> None:
        outcome = "cancelled" if isinstance(error, KeyboardInterrupt) or self._stopped(error) else "failed"
        ended = StepEnded(step=self.step.name, index=self.step.index, seconds=seconds, outcome=outcome)  # type: ignore[arg-type]  # one of two literals
        self.scope.emit(replace(ended, reason=user_text(error)))

    def _failure(self, error: Exception) -> BakeryError:
        """Return what the task raised, with the attempts before it."""
        raised = as_error("task", self.step, error, TaskError)
        if self.failures:
            earlier = "\n".join(f"attempt {n}: {user_text(e)}" for n, e in enumerate(self.failures, start=1))
            raised.why = f"{raised.why}\nearlier attempts:\n{earlier}".strip()
        self.failures.append(raised)
        return raised
