"""A build's way along its chain of step keys: what is restored, what runs, what is saved for the next time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bakery.build import package_mirror
from bakery.build.context import BuildOptions, RunContext
from bakery.build.job import Job, Task
from bakery.build.provider_checkpoints import Recalled, list_checkpoints, makes_checkpoint
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.step_keys import StepKeys, base_key, image_key, look_up_steps
from bakery.build.verdict_key import files_of, holds, tests_key
from bakery.build.verdicts import mark_failed, passed, untested
from bakery.cache import portable_records
from bakery.cache.checkpoints.lease import Lease
from bakery.cache.inputs.external import LocalInput
from bakery.cache.inputs.tracer import Tracer
from bakery.cache.records import Record
from bakery.cache.steps import Made
from bakery.disk.bases.base import Base
from bakery.errors import BakeryError, ConnectError, DriverError, PreflightError, SmokeError
from bakery.events import Notice, StepEnded
from bakery.imagefile.builds import Step
from bakery.model import Artifact, Checkpoint, Source
from bakery.state import progress
from bakery.state.progress import BuildProgress, Note
from bakery.util.results import Lost, TimedOut


class IncrementalBuild:
    """The way of one build.

    Args:
        scope: the build's life.
        base: the image that it stands on, where another build made it.
        lease: holds the checkpoints that it uses.
    """

    def __init__(self, scope: Scope, base: Artifact | None, lease: Lease) -> None:
        self.scope = scope
        self.lease = lease
        self.boot: Source = scope.build.boot if base is None else scope.build.boot.on(base)
        self.variables = scope.job.own_variables()
        self.key: str | None = None
        self._restored = 0
        self._base: str | None = None
        self._chain: StepKeys | None = None
        self._done = 0
        self._stands_on: tuple[str, ...] = ()
        self._recalled = Recalled()
        self._records: list[Record] = []

    def rebind(self, job: Job) -> None:
        """Go on with functions and values of an imagefile that was read again; those that have run stay."""
        if job is not self.scope.job:
            self.scope.job = job
            self.variables = job.own_variables()

    # ---- where it starts ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make or find the base, and look up which steps are still what they were."""
        scope, context = self.scope, self.scope.context
        work = context.work(scope.build.name)
        driver = context.drivers.get(scope.build.driver)
        with scope.phase("base"):
            parent = base_key(self.boot.base, work) or driver.prepare(self.boot, work)
            self._recalled = list_checkpoints(scope, driver, self.boot)
        self._base = parent
        self._chain = self._chained(context.options)
        self.key = self._chain.parent
        context.inputs.add(LocalInput("file", context.imagefile))

    def _chained(self, options: BuildOptions) -> StepKeys:
        scope = self.scope
        return look_up_steps(
            scope.job, self._base, options=options, state=scope.context.state, notes=self._recalled.notes
        )

    def start(self, stack: ExitStack) -> RunningMachine:
        """Return a running machine: one that a killed run left, from the deepest checkpoint that works, or a new one.

        Args:
            stack: where the machine's life is entered.
        """
        if (running := self._taken_over(stack)) is not None:
            return running
        for count, checkpoint in self._checkpoints():
            try:
                running = stack.enter_context(self.scope.machine(checkpoint))
            except (DriverError, ConnectError) as error:
                self.lease.reject(checkpoint.key, error.what)
                continue
            here = checkpoint.key not in self._recalled.checkpoints  # the machine may stand on its files
            self._goes_on(count, checkpoint.key, (checkpoint.key,) if here else (), self._made())
            self._tell_resumed(f"{self._after(count)}, from a checkpoint")
            self._note(running)
            return running
        self._tell_resumed("from the start: neither a machine nor a checkpoint of it is there")
        running = stack.enter_context(self.scope.machine(self.boot))
        package_mirror.enter(running)
        if running.driver.saves_boot:  # the next build need not wait for the boot
            self._save(running, self.key)
        self._note(running)
        return running

    def _checkpoints(self) -> Iterator[tuple[int, Checkpoint]]:
        """The checkpoints of steps that have not changed, the deepest first, each with how many steps it holds."""
        made = self._made()
        if not self.scope.context.options.cache or made.parent is None:
            return
        keys = made.keys
        for count in range(len(keys) - 1, -1, -1):
            checkpoint = self._recalled.checkpoints.get(keys[count]) or self.lease.get(keys[count])
            if checkpoint is not None:
                yield count, checkpoint

    def _goes_on(self, count: int, key: str | None, stands_on: tuple[str, ...], made: StepKeys) -> None:
        """Take so many steps for done."""
        self._restored = self._done = count
        self.key, self._stands_on = key, stands_on
        for step, hit in zip(self.scope.build.steps[:count], made.hits, strict=False):
            self.scope.context.inputs.update(hit.files)
            self.scope.emit(
                StepEnded(step=step.name, index=step.index, seconds=0.0, outcome="cached", reason="nothing changed")
            )
            made.steps.used(self.scope.job.task(step).function, hit)
            self._records.append(hit.record)

    def _after(self, count: int) -> str:
        return f"after {self.scope.build.steps[count - 1].name}" if count else "on the machine as it booted"

    def _tell_resumed(self, where: str) -> None:
        if self.scope.context.options.resume is not None:
            self.scope.emit(Notice(message=f"continues {where}"))

    # ---- a machine that a killed run left -----------------------------------------------------------------------

    def _taken_over(self, stack: ExitStack) -> RunningMachine | None:
        """Go on with the machine of the run that is continued, where it is further than any checkpoint."""
        resumed = self.scope.context.resumed
        survivor = None if resumed is None else resumed.survivor(self.scope.build.name)
        if resumed is None or survivor is None:
            return None
        known = survivor.progress
        made = self._chained(replace(self.scope.context.options, cache=True, refresh=frozenset()))
        reason = self._unfit(known, made)
        if reason:
            resumed.give_up(survivor)
        else:
            try:
                running = stack.enter_context(self.scope.machine(survivor))
            except (DriverError, ConnectError) as error:
                reason = error.what
            else:
                self._goes_on(known.done, known.key, known.stands_on, made)
                self._tell_resumed(f"{self._after(known.done)}, on the machine that still runs")
                self._end_interrupted(running, known)
                return running
        self.scope.emit(Notice(message=f"the machine that the run left is not gone on with: {reason}"))
        return None

    def _unfit(self, known: BuildProgress, made: StepKeys) -> str:
        """Why a machine is not to be gone on with; empty when it is."""
        keys, best = made.keys, next(self._checkpoints(), None)
        if known.key is None or known.done >= len(keys) or keys[known.done] != known.key:
            return "its finished steps have changed since, or cannot be compared"
        if best is not None and (best[0] > known.done or (best[0] == known.done and known.began)):
            return "there is a checkpoint that is as far"
        if any(self.lease.get(key) is None for key in known.stands_on):
            return "a checkpoint that it stands on is gone"
        return ""

    def _end_interrupted(self, running: RunningMachine, known: BuildProgress) -> None:
        """Let a task that was under way begin anew on the machine as it is, and end what still runs of it."""
        if known.began:
            try:
                running.link.open().end_leftovers()
            except (Lost, TimedOut) as error:
                raise ConnectError(
                    f"the machine was lost while what still ran of task {known.began} was being ended",
                    why=str(error),
                    hint="`bake build` starts anew",
                ) from error
            self.spoil(running)
            self.scope.emit(
                Notice(
                    level="warning",
                    message=f"task {known.began} was interrupted, and runs again on the machine as it left it",
                    hint="later builds do not reuse what comes of it",
                )
            )

    def begins(self, step: Step, running: RunningMachine) -> None:
        """Write down that a task is under way."""
        self._note(running, began=step.name)

    def spoil(self, running: RunningMachine) -> None:
        """The machine is no longer what its inputs say: nothing that comes of it may be taken for that."""
        self.key = None
        self._note(running)

    def _note(self, running: RunningMachine, *, began: str = "") -> None:
        """Write down how far the machine is, for whoever resumes this run."""
        folder = running.claim.folder
        if self.key is None:
            progress.forget(folder)
            return
        known = BuildProgress(done=self._done, key=self.key, stands_on=self._stands_on, began=began)
        progress.write(
            folder,
            Note(
                name=running.claim.name,
                build=self.scope.build.name,
                handle=running.handle,
                things=tuple(running.held.resources),
                progress=known,
            ),
        )

    def is_restored(self, step: Step) -> bool:
        """Say whether a step is inside the checkpoint that was booted."""
        return step in self.scope.build.steps[: self._restored]

    def reason(self, step: Step) -> str:
        """Say why a step runs."""
        return "; ".join(self._made().reasons(self.scope.build.steps.index(step)))

    # ---- a step that runs ---------------------------------------------------------------------------------------

    @contextmanager
    def traced(self, task: Task) -> Generator[Tracer]:
        """Watch what a task takes in."""
        with self._made().steps.tracer(task.function, self.variables) as tracer:
            yield tracer

    def passed(self, step: Step, tracer: Tracer, running: RunningMachine) -> None:
        """Write down what a step took in, and save the machine after it."""
        if self.key is None:
            return
        steps = self._made().steps
        task = self.scope.job.task(step)
        made: Made = steps.record(self.key, task.function, task.options, tracer, self.variables)
        self.key = made.key
        self._records += [made.record] if made.record else []
        self.scope.context.inputs.update(made.files)
        if made.reasons:
            self.scope.emit(Notice(message=f"{step.name} cannot be cached: {'; '.join(made.reasons)}"))
        if made.reusable and makes_checkpoint(task.options, running.driver):
            self._save(running, made.key)
        self._done = self.scope.build.steps.index(step) + 1
        self._note(running)

    def _save(self, running: RunningMachine, key: str | None) -> None:
        """Save a checkpoint. A failure costs time later, never this build: the machine runs on."""
        if key is None or not self.scope.context.options.cache:
            return
        place = self.lease.make(key)
        if place is None:
            return
        progress.forget(running.claim.folder)  # its disk is moved about meanwhile
        try:
            if running.driver.syncs:
                running.link.open().run("sync")
            claim = replace(running.claim, note=portable_records.write(self._records))
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
            self._stands_on = (*self._stands_on, key)

    def _made(self) -> StepKeys:
        if self._chain is None:
            self.prepare()
        assert self._chain is not None  # noqa: S101  prepare has just set it
        return self._chain

    # ---- where it ends ------------------------------------------------------------------------------------------

    def sign(self, artifact: Artifact) -> Artifact:
        """Write the content key onto a captured image."""
        if self.key is None:
            return artifact
        return replace(artifact, key=image_key(self.scope.job, self.key))

    def tested(self, artifact: Artifact) -> Artifact:
        """Write onto an image which tests it passed, or that it was not tested."""
        if not self.scope.context.options.test:
            return untested(artifact)
        return passed(artifact, self.scope)

    @contextmanager
    def judging(self, artifact: Artifact) -> Generator[None]:
        """Say what becomes of an image whose tests or inspection fail; one that was kept before is marked so."""
        try:
            yield
        except SmokeError as error:
            kept = mark_failed(artifact, self.scope)
            fate = "the image was kept before, and is marked as failed" if kept else "no image was kept"
            error.hint = f"{fate}; {error.hint}".removesuffix("; ")
            raise


def find_up_to_date_image(
    context: RunContext, job: Job, base: Artifact | None, *, ask: bool = False
) -> tuple[Artifact | None, bool]:
    """Find the image of a build of which nothing has changed, from keys alone.

    Args:
        context: the run.
        job: the build.
        base: the image that it stands on, where another build made it.
        ask: also ask a provider which base is meant (the newest of a name).

    Returns:
        The image, if there is one that is intact, and whether it passed the tests as they are now.
    """
    if not context.options.cache or context.options.refresh:
        return None, False
    build = job.build
    boot = build.boot if base is None else build.boot.on(base)
    work = context.work(build.name)
    parent = base_key(boot.base, work)
    if parent is None and ask and not isinstance(boot.base, Base):
        parent = context.drivers.get(build.driver).prepare(boot, work)
    if parent is None:
        return None, False
    made = look_up_steps(job, parent, options=context.options, state=context.state)
    if len(made.hits) < len(build.steps) or made.last is None:
        return None, False
    key = image_key(job, made.last)
    for artifact in reversed(context.state.images()):
        if artifact.key == key and artifact.build == build.name and _intact(context, artifact):
            for hit in made.hits:
                context.inputs.update(hit.files)
            context.inputs.add(LocalInput("file", context.imagefile))
            context.inputs.update(files_of(artifact.data, job.folder))
            return artifact, not context.options.test or _verdict_holds(job, artifact, context.state.cache)
    return None, False


def _verdict_holds(job: Job, artifact: Artifact, cache: Path) -> bool:
    """Say whether an image passed the tests as they are now."""
    wanted = tests_key(job, cache)
    return wanted is not None and artifact.data.get("tests") == wanted and holds(artifact.data, job, cache)


def _intact(context: RunContext, artifact: Artifact) -> bool:
    try:
        return context.drivers.get(artifact.driver).intact(artifact)
    except (NotImplementedError, DriverError, PreflightError):
        return False  # what cannot be asked is not reused; the build itself says what is wrong there
