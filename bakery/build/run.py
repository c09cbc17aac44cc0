"""One run: pre-flight for every build, then a worker for each, then the account of it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bakery.build.begin import build_started, run_started
from bakery.build.capacity import Capacity
from bakery.build.context import Asks, BuildOptions, RunContext
from bakery.build.housekeeping import tidy
from bakery.build.job import Jobs
from bakery.build.leftovers import tell_of_leftovers
from bakery.build.outputs import made_besides, touch, write_outputs
from bakery.build.preflight import check_builds, needs_of
from bakery.build.signals import Signals
from bakery.build.up_to_date import find_up_to_date_image
from bakery.build.verdicts import warn_of_base
from bakery.build.versions import claims_its_place
from bakery.drivers.registry import Registry
from bakery.errors import BakeryError, CleanupError, Interrupted, PreflightError
from bakery.events import ArtifactKept, BuildEnded, Notice, RunEnded, Waiting
from bakery.imagefile.builds import Build, Plan
from bakery.imagefile.recipe import Recipe
from bakery.imagefile.user_code import out_of_imagefile, text_of
from bakery.imagefile.variables import Settings
from bakery.model import Artifact, to_json
from bakery.redaction.redactor import Redactor
from bakery.reporting.bus import Bus, Reporter
from bakery.reporting.summary import failed_event
from bakery.state.image_names import short_name
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State
from bakery.util.host_errors import no_space, trouble
from bakery.util.units import counted
from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from bakery.build.cluster.remote import Cluster

POLL = 0.25
"""Seconds between two looks at signals: one that another thread received does not wake the main thread."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Args:
        exit_code: the first failure's; 10 when something is left behind.
        run: the run's folder.
        artifacts: build name to image, for those that were made or were up to date.
        errors: build name to what went wrong; the empty name for the whole run.
    """

    exit_code: int
    run: RunFolder
    artifacts: Mapping[str, Artifact] = field(default_factory=dict[str, Artifact])
    errors: Mapping[str, BakeryError] = field(default_factory=dict[str, BakeryError])


def build(
    plan: Plan,
    recipe: Recipe,
    settings: Settings,
    options: BuildOptions,
    state: State,
    *,
    readers: Sequence[Reporter] = (),
    drivers: Registry | None = None,
    redactor: Redactor | None = None,
    ask: Asks | None = None,
    cluster: Cluster | None = None,
) -> Outcome:
    """Make all images of a plan.

    Args:
        plan: what to make.
        recipe: the imagefile.
        settings: the variables as the user gave them.
        options: how to run.
        state: the project's `.bakery`.
        readers: reporters; they see every event, redacted.
        drivers: where drivers come from.
        redactor: knows the secrets; a fresh one when not given.
        ask: asks the user about a failed task, where there is a terminal.
        cluster: where images are made; on this host when not given.

    Returns:
        The images, what failed, and the exit code. Only a defect of ours raises.
    """
    folder = state.new_run()
    redactor = redactor or Redactor()
    bus = Bus(folder.id, redactor)
    for reader in readers:
        bus.add(reader)
    deadline = time.monotonic() + options.deadline if options.deadline else None
    cancel = Cancel(deadline)
    with Journal(folder.path, observe=_observer(bus)) as journal:
        run = RunContext(
            jobs=Jobs(plan, recipe, settings),
            options=options,
            state=state,
            folder=folder,
            journal=journal,
            bus=bus,
            redactor=redactor,
            drivers=drivers or Registry(),
            cancel=cancel,
            ask=ask,
            elsewhere=cluster,
        )
        try:
            with Signals(cancel, run.emit), nullcontext() if cluster is None else cluster.running(run):
                outcome = _Run(plan, run).go()
        finally:
            bus.close()
        if outcome.exit_code == 0:
            touch(run)
        state.hand_over(folder.path, state.images_folder, *made_besides(options))
        return outcome


def _observer(bus: Bus) -> Any:
    from bakery.events import ResourceChanged

    return lambda op, resource: bus.emit(ResourceChanged(build=resource.build, op=op, resource=str(resource)))


class _Run:
    """The scheduler's state while a run goes on."""

    def __init__(self, plan: Plan, run: RunContext) -> None:
        self.plan = plan
        self.run = run
        self.artifacts = run.artifacts
        self.errors: dict[str, BakeryError] = {}
        self.left: list[CleanupError] = []
        self.began = False
        self.cached: set[str] = set()

    def go(self) -> Outcome:
        """Pre-flight, build, account."""
        started = time.monotonic()
        run = self.run
        names = tuple(build.name for build in self.plan.builds)
        run.emit(run_started(run, names))
        run.folder.write_about({"builds": list(names), "imagefile": str(run.imagefile), "started": time.time()})
        for warning in self.plan.warnings:
            run.emit(Notice(level="warning", message=warning))
        try:
            self._secrets()
            self._clear_resumed()
            self._reuse()
            (check_builds if run.elsewhere is None else run.elsewhere.check)(run, self._left_to_do())
            self._build_all()
            if len(self.errors) == 0:
                write_outputs(self.plan, self.artifacts, run)
        except (BakeryError, OSError) as error:
            self._failed("", self._ours(error))
        finally:
            self._let_go_of_resumed()
        code = self._exit_code()
        tell_of_leftovers(run, code, self.errors.values())
        if self.began and any(build.name not in self.cached for build in self.plan.builds):
            tidy(run)
        with suppress(OSError):  # on a full disk
            run.folder.write_about({**run.folder.about(), "ended": time.time(), "exit_code": code})
        run.emit(RunEnded(seconds=time.monotonic() - started, exit_code=code))
        artifacts = {name: self.artifacts[name] for name in names if name in self.artifacts}
        return Outcome(exit_code=code, run=run.folder, artifacts=artifacts, errors=self.errors)

    def _secrets(self) -> None:
        """Know every secret before anything else can print it; refuse to start without one."""
        run = self.run
        jobs = [run.jobs[build.name] for build in self.plan.builds]
        missing = {
            name: error
            for job in jobs
            for name, error in job.missing_secrets.items()
            if run.elsewhere is None or not run.elsewhere.has_secret(job, name)
        }
        if missing:
            first, *rest = missing.values()
            first.why = "\n".join(str(error.what) for error in rest)
            raise first
        for job in jobs:
            for name, secret in job.secrets.items():
                run.redactor.add(secret, name)

    def _clear_resumed(self) -> None:
        """Destroy what the run that is continued left, but machines to go on with; others live on as checkpoints.

        Raises:
            UsageError: there is no such run, or it still goes on.
            JournalDamaged: nobody knows what it left.
            CleanupError: something of it cannot be destroyed.
        """
        run = self.run
        if run.options.resume is None:
            return
        from bakery.build.resume import ResumedRun

        run.resumed = ResumedRun(run.state.run(run.options.resume), run.drivers.get, run.cancel)
        gone = run.resumed.clear({build.name for build in self.plan.builds})
        done = f", after destroying {counted(gone, 'thing')} that it left" if gone else ""
        run.emit(Notice(message=f"continuing {run.resumed.run.id}{done}"))

    def _let_go_of_resumed(self) -> None:
        """Destroy what nobody went on with; before any build began it is left for another attempt."""
        if self.run.resumed is not None:
            try:
                for notice in self.run.resumed.close(spare=not self.began):
                    self.run.emit(notice)
            except CleanupError as error:
                self._failed("", error)

    def _reuse(self) -> None:
        """Find the builds of which nothing has changed: no machine, no base, no provider's library for them."""
        for build in self.plan.builds:
            if not self._ready(build):
                continue
            base = self.artifacts[build.after[0]] if build.after else None
            if self._is_up_to_date(build, base):
                warn_of_base(self.run, build, base)

    def _is_up_to_date(self, build: Build, base: Artifact | None, *, ask: bool = False) -> bool:
        image = find_up_to_date_image(self.run.jobs[build.name], self.run, base, ask=ask)
        if image is None or not image.tested:
            return False
        artifact = image.artifact
        if told := claims_its_place(artifact, self.run.state):
            self.run.emit(Notice(build=build.name, level="warning", message=told, hint="`bake rollback --to` chooses"))
        self.artifacts[build.name] = artifact
        self.cached.add(build.name)
        self.run.emit(
            BuildEnded(build=build.name, outcome="cached", seconds=0.0, artifact=_json(artifact), reason="up to date")
        )
        return True

    def _left_to_do(self) -> list[Build]:
        return [build for build in self.plan.builds if build.name not in self.artifacts]

    # ---- scheduling ---------------------------------------------------------------------------------------------

    def _build_all(self) -> None:
        """Start what is ready and fits; a failed build stops only what stands on it."""
        self.began = True
        capacity = Capacity(self.run.options.jobs, self._limits())
        waiting = self._left_to_do()
        told_to_wait: set[str] = set()
        running: dict[Future[Artifact | None], Build] = {}
        with ThreadPoolExecutor(max_workers=max(1, len(waiting)), thread_name_prefix="build") as pool:
            while waiting or running:
                for build in list(waiting):
                    if self._pruned(build) or self._is_too_late(build):
                        waiting.remove(build)
                    elif not self._ready(build):
                        continue
                    elif capacity.take(needs := needs_of(self.run, build), build.name):
                        waiting.remove(build)
                        running[pool.submit(self._worker, build)] = build
                    elif build.name not in told_to_wait:
                        told_to_wait.add(build.name)
                        self.run.emit(Waiting(build=build.name, what=capacity.lacks(needs)))
                done, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    capacity.give_back(running.pop(future).name)
                    future.result()
        if self.run.cancel.reason and not self.errors:
            raise Interrupted(self.run.cancel.reason)

    def _limits(self) -> Mapping[str, int]:
        """Return how much there is of each label: of a cluster's machines its own scheduler knows."""
        everywhere = {} if self.run.elsewhere is None else {"memory": sys.maxsize, "cpus": sys.maxsize}
        return {**everywhere, **self.run.options.limits}

    def _ready(self, build: Build) -> bool:
        return all(name in self.artifacts for name in build.needed)

    def _pruned(self, build: Build) -> bool:
        broken = [name for name in build.needed if name in self.errors]
        if not broken:
            return False
        stopped = isinstance(self.errors[broken[0]], Interrupted)
        error = PreflightError(f"not built, because {broken[0]} {'was cancelled' if stopped else 'failed'}")
        self.errors[build.name] = error
        self.run.emit(BuildEnded(build=build.name, outcome="skipped", seconds=0.0, reason=error.what))
        return True

    def _is_too_late(self, build: Build) -> bool:
        """Say whether the run is cancelled, and tell what becomes of a build that had not begun."""
        if reason := self.run.cancel.reason:
            told = BuildEnded(build=build.name, outcome="cancelled", seconds=0.0, reason=f"not begun, {reason}")
            self.run.emit(told)
        return bool(reason)

    def _worker(self, build: Build) -> Artifact | None:
        """Make one build: everything that can go wrong with it ends here, and disturbs no other."""
        started = time.monotonic()
        run = self.run
        run.emit(build_started(run, run.jobs[build.name]))
        base = self.artifacts[build.after[0]] if build.after else None
        warn_of_base(run, build, base)
        try:
            if self._is_up_to_date(build, base, ask=True):  # its base is known only now
                return self.artifacts[build.name]
            from bakery.build.bake import bake  # half of all that bakery loads: not for what is up to date

            artifact = (bake if run.elsewhere is None else run.elsewhere.bake)(run.jobs[build.name], run, base)
        except BaseException as error:  # in a thread of the pool: whatever it is, it is this build's
            raised = self._ours(error)
            self._failed(build.name, raised)
            outcome = "cancelled" if isinstance(raised, Interrupted) else "failed"
            seconds = time.monotonic() - started
            run.emit(BuildEnded(build=build.name, outcome=outcome, seconds=seconds, reason=raised.what))  # type: ignore[arg-type]  # one of two literals
            if raised.artifact is not None:
                self.artifacts[build.name] = raised.artifact
            return None
        self.artifacts[build.name] = artifact
        run.emit(
            ArtifactKept(
                build=build.name,
                name=artifact.name,
                id=artifact.id,
                format=artifact.format,
                size=artifact.size,
                sha256=artifact.sha256,
                verdict=artifact.verdict,
                call=short_name(run.state.images(), artifact),
            )
        )
        seconds = time.monotonic() - started
        run.emit(BuildEnded(build=build.name, outcome="ok", seconds=seconds, artifact=_json(artifact)))
        return artifact

    def _ours(self, error: BaseException) -> BakeryError:
        """Turn what is no error of the known families into one; of a defect of ours, with its traceback on disk."""
        if isinstance(error, BakeryError):
            return error
        if (explained := out_of_imagefile(error, self.run.imagefile.parent) or trouble(error)) is not None:
            return explained
        path = self.run.folder.path / "crash.txt"
        text = self.run.redactor("".join(traceback.format_exception(error)))
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return BakeryError(
            f"bakery has a defect: {type(error).__name__}: {text_of(error)}",
            why=f"the traceback is in {path}",
            hint="please report it with that file",
        )

    def _failed(self, name: str, error: BakeryError) -> None:
        self.errors[name] = error
        if no_space(self.run.folder.path) and "full" not in error.what:
            error.hint = f"the disk under {self.run.folder.path} is full. {error.hint}".strip()
        self.run.emit(failed_event(error, build=name, folder=self.run.folder.path))

    def _exit_code(self) -> int:
        """Leftovers first, since they cost money; then what the user did; then the first failure."""
        left = self.run.folder.replay().live()
        if any(entry.op != "held" for entry in left):
            return CleanupError.exit_code
        codes = [error.exit_code for error in self.errors.values()]
        if CleanupError.exit_code in codes:
            return CleanupError.exit_code
        if Interrupted.exit_code in codes:
            return Interrupted.exit_code
        return codes[0] if codes else 0


def _json(artifact: Artifact) -> dict[str, Any]:
    shown = to_json(artifact)
    return shown if isinstance(shown, dict) else {}
