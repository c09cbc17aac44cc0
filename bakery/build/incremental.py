"""A build's way along its chain of step keys: what is restored, what runs, what is saved for the next time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from bakery.build import disk_layout, package_mirror
from bakery.build.context import BuildOptions
from bakery.build.job import Job, Task
from bakery.build.provider_checkpoints import ProviderCheckpoints, list_checkpoints, makes_checkpoint
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.shared_checkpoints import CheckpointSharing
from bakery.build.step_keys import StepKeys, base_key, image_key, look_up_steps
from bakery.build.user_errors import about_source
from bakery.cache import portable_records
from bakery.cache.inputs.external import LocalInput
from bakery.cache.inputs.tracer import Tracer
from bakery.cache.records import Record
from bakery.errors import BakeryError, ConnectError, DriverError
from bakery.events import Notice, StepEnded
from bakery.imagefile.builds import Step
from bakery.model import Artifact, Checkpoint, Source
from bakery.state import progress
from bakery.state.progress import BuildProgress, Note
from bakery.util.results import Lost, TimedOut


class IncrementalBuild:
    """Goes along the step keys of one build, and does nothing again that has not changed.

    Args:
        scope: the build's life.
        base: the image that it stands on, where another build made it.
    """

    def __init__(self, scope: Scope, base: Artifact | None) -> None:
        self.scope = scope
        self.lease = scope.lease
        self.boot: Source = scope.build.boot if base is None else scope.build.boot.on(base)
        self.variables = scope.job.own_variables()
        self.key: str | None = None
        self._restored = 0
        self._base: str | None = None
        self._step_keys: StepKeys | None = None
        self._done = 0
        self._stands_on: tuple[str, ...] = ()
        self._provider = ProviderCheckpoints()
        self._sharing = CheckpointSharing(scope)
        self._notes: tuple[str, ...] = ()
        self._records: list[Record] = []
        self._last: list[Record] = []

    def rebind(self, job: Job) -> None:
        """Go on with functions and values of an imagefile that was read again; those that have run stay."""
        if job is not self.scope.job:
            self.scope.job = job
            self.variables = job.own_variables()
            self._keys().steps.read_again()

    # ---- where it starts ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make or find the base, and look up which steps are still what they were."""
        scope, run = self.scope, self.scope.run
        work = run.work(scope.build.name)
        driver = run.drivers.get(scope.build.driver)
        with scope.phase("base"), about_source(scope.job):
            parent = base_key(self.boot.base, work) or driver.prepare(self.boot, work)
            self._provider = list_checkpoints(scope, driver, self.boot)
            self._notes = (*self._provider.notes, *self._sharing.begin(parent))
        self._base = scope.base_key = parent
        self._step_keys = self._look_up(run.options)
        self.key = self._step_keys.parent
        run.inputs.add(LocalInput("file", run.imagefile))

    def _look_up(self, options: BuildOptions) -> StepKeys:
        return look_up_steps(self.scope.job, self._base, options=options, state=self.scope.run.state, notes=self._notes)

    @contextmanager
    def machine(self) -> Generator[RunningMachine]:
        """Hand over a machine: one that a killed run left, from the deepest checkpoint that works, or a new one."""
        with ExitStack() as stack:
            yield self._taken_over(stack) or self._restored_machine(stack) or self._new_machine(stack)

    def _restored_machine(self, stack: ExitStack) -> RunningMachine | None:
        """Restore the deepest checkpoint that works."""
        for count, checkpoint in self._checkpoints():
            try:
                running = stack.enter_context(self.scope.machine(checkpoint))
            except (DriverError, ConnectError) as error:
                self.lease.reject(checkpoint.key, error.what)
                continue
            here = checkpoint.key not in self._provider.checkpoints  # the machine may stand on its files
            self._goes_on(count, checkpoint.key, (checkpoint.key,) if here else (), self._keys())
            self._tell_resumed(f"{self._after(count)}, from a checkpoint")
            self._note(running)
            return running
        return None

    def _new_machine(self, stack: ExitStack) -> RunningMachine:
        """Launch a machine of the base."""
        self._tell_resumed("from the start: neither a machine nor a checkpoint of it is there")
        with about_source(self.scope.job):
            running = stack.enter_context(self.scope.machine(self.boot))
        package_mirror.enter(running)
        disk_layout.enter(self.scope, running)
        if running.driver.saves_boot:  # the next build need not wait for the boot
            self._save(running, self.key, "")
        self._note(running)
        return running

    def _checkpoints(self) -> Iterator[tuple[int, Checkpoint]]:
        """Yield the checkpoints of steps that have not changed, the deepest first, with how many steps each holds."""
        if not self.scope.run.options.cache or self._keys().parent is None:
            return
        keys = self._keys().keys
        for count in range(len(keys) - 1, -1, -1):
            key = keys[count]
            checkpoint = self._provider.checkpoints.get(key) or self.lease.get(key) or self._sharing.fetch(key)
            if checkpoint is not None:
                yield count, checkpoint

    def _goes_on(self, count: int, key: str | None, stands_on: tuple[str, ...], found: StepKeys) -> None:
        """Count the first steps as done, as a checkpoint or a machine holds them."""
        self._restored = self._done = count
        self.key, self._stands_on = key, stands_on
        for step, hit in zip(self.scope.build.steps[:count], found.hits, strict=False):
            self.scope.run.inputs.update(hit.files)
            self.scope.emit(
                StepEnded(step=step.name, index=step.index, seconds=0.0, outcome="cached", reason="nothing changed")
            )
            found.steps.used(self.scope.job.task(step).function, hit)
            self._records.append(hit.record)
            self._last.append(hit.record)

    def _after(self, count: int) -> str:
        return f"after {self.scope.build.steps[count - 1].name}" if count else "on the machine as it booted"

    def _tell_resumed(self, where: str) -> None:
        if self.scope.run.options.resume is not None:
            self.scope.emit(Notice(message=f"continues {where}"))

    # ---- a machine that a killed run left -----------------------------------------------------------------------

    def _taken_over(self, stack: ExitStack) -> RunningMachine | None:
        """Go on with the machine of the run that is continued, where it is further than any checkpoint."""
        resumed = self.scope.run.resumed
        survivor = None if resumed is None else resumed.survivor(self.scope.build.name)
        if resumed is None or survivor is None:
            return None
        reached = survivor.progress
        found = self._look_up(replace(self.scope.run.options, cache=True, refresh=frozenset()))
        reason = self._unfit(reached, found)
        if reason:
            resumed.give_up(survivor)
        else:
            try:
                running = stack.enter_context(self.scope.machine(survivor))
            except (DriverError, ConnectError) as error:
                reason = error.what
            else:
                self._goes_on(reached.done, reached.key, reached.stands_on, found)
                self._tell_resumed(f"{self._after(reached.done)}, on the machine that still runs")
                self._end_interrupted(running, reached)
                return running
        self.scope.emit(Notice(message=f"the machine that the run left is not gone on with: {reason}"))
        return None

    def _unfit(self, reached: BuildProgress, found: StepKeys) -> str:
        """Say why a machine is not to be gone on with; nothing when it is."""
        keys, best = found.keys, next(self._checkpoints(), None)
        if reached.key is None or reached.done >= len(keys) or keys[reached.done] != reached.key:
            return "its finished steps have changed since, or cannot be compared"
        if best is not None and (best[0] > reached.done or (best[0] == reached.done and reached.began)):
            return "there is a checkpoint that is as far"
        if any(self.lease.get(key) is None for key in reached.stands_on):
            return "a checkpoint that it stands on is gone"
        return ""

    def _end_interrupted(self, running: RunningMachine, reached: BuildProgress) -> None:
        """Let a task that was under way begin anew on the machine as it is, and end what still runs of it."""
        if reached.began:
            try:
                running.link.open().end_leftovers()
            except (Lost, TimedOut) as error:
                raise ConnectError(
                    f"the machine was lost while what still ran of task {reached.began} was being ended",
                    why=str(error),
                    hint="`bake build` starts anew",
                ) from error
            self.spoil(running)
            self.scope.emit(
                Notice(
                    level="warning",
                    message=f"task {reached.began} was interrupted, and runs again on the machine as it left it",
                    hint="later builds do not reuse what comes of it",
                )
            )

    def begins(self, step: Step, running: RunningMachine) -> None:
        """Write down that a task is under way."""
        self._note(running, began=step.name)

    def spoil(self, running: RunningMachine) -> None:
        """Note that the machine is no longer what its inputs say: nothing that comes of it may be taken for that."""
        self.key = None
        self._note(running)

    def _note(self, running: RunningMachine, *, began: str = "") -> None:
        """Write down how far the machine is, for whoever resumes this run."""
        folder = running.claim.folder
        if self.key is None:
            progress.forget(folder)
            return
        reached = BuildProgress(done=self._done, key=self.key, stands_on=self._stands_on, began=began)
        progress.write(
            folder,
            Note(
                name=running.claim.name,
                build=self.scope.build.name,
                handle=running.handle,
                things=tuple(running.held.resources),
                progress=reached,
            ),
        )

    def is_restored(self, step: Step) -> bool:
        """Say whether a step is inside the checkpoint that was booted."""
        return step in self.scope.build.steps[: self._restored]

    def reason(self, step: Step) -> str:
        """Say why a step runs."""
        return "; ".join(self._keys().reasons(self.scope.build.steps.index(step)))

    # ---- a step that runs ---------------------------------------------------------------------------------------

    @contextmanager
    def traced(self, task: Task) -> Generator[Tracer]:
        """Watch what a task takes in."""
        with self._keys().steps.tracer(task.function, self.variables) as tracer:
            yield tracer

    def passed(self, step: Step, tracer: Tracer, running: RunningMachine) -> None:
        """Write down what a step took in, and save the machine after it."""
        if self.key is None:
            return
        task = self.scope.job.task(step)
        result = self._keys().steps.record(self.key, task.function, task.options, tracer, self.variables)
        self.key = result.key
        self._records += [result.record] if result.record else []
        self._last += [result.last] if result.last else []
        self.scope.run.inputs.update(result.files)
        if result.reasons:
            self.scope.emit(Notice(message=f"{step.name} cannot be cached: {'; '.join(result.reasons)}"))
        if result.reusable and makes_checkpoint(task.options, running.driver):
            self._save(running, result.key, step.name)
        self._done = self.scope.build.steps.index(step) + 1
        self._note(running)

    def _save(self, running: RunningMachine, key: str | None, task: str) -> None:
        """Save a checkpoint. A failure costs time later, never this build: the machine runs on."""
        if key is None or not self.scope.run.options.cache:
            return
        job = self.scope.job
        place = self.lease.make(key, {"project": str(job.folder), "build": job.name, "task": task})
        if place is None:
            return
        progress.forget(running.claim.folder)  # its disk is moved about meanwhile
        try:
            if running.driver.syncs:
                running.ask("sync", "sync")
            note = portable_records.write(self._records)
            claim = replace(running.claim, note=note)
            checkpoint = running.driver.checkpoint(running.handle, key, place.folder, claim)
        except (BakeryError, OSError) as error:
            what = error.what if isinstance(error, BakeryError) else str(error)
            self.scope.emit(
                Notice(level="warning", message=f"no checkpoint: {what}", hint="the next build takes longer")
            )
            self._stands_on = (*self._stands_on, key)  # it may stand on files that go with this process
            return
        if checkpoint is not None:
            place.keep(checkpoint)
            self._sharing.send(checkpoint, note)
            self._stands_on = (*self._stands_on, key)

    def _keys(self) -> StepKeys:
        assert self._step_keys is not None  # noqa: S101  `prepare` comes first
        return self._step_keys

    # ---- where it ends ------------------------------------------------------------------------------------------

    def sign(self, artifact: Artifact) -> Artifact:
        """Write the content key onto a captured image."""
        self.scope.run.records[self.scope.build.name] = tuple(self._last)
        if self.key is None:
            return artifact
        return replace(artifact, key=image_key(self.scope.job, self.key))
