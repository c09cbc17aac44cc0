"""Going to a machine for another reason than to build: to test an image again, or to look around on one.

The machine is a throw-away: made under a journal, destroyed at the end, found by `bake gc` after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bakery.build.begin import build_started, run_started
from bakery.build.context import BuildOptions, RunContext
from bakery.build.job import Job, Jobs
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.signals import Signals
from bakery.drivers.registry import Registry
from bakery.errors import BakeryError, CleanupError, Interrupted, UsageError
from bakery.events import BuildEnded, Outcome, ResourceChanged, RunEnded
from bakery.imagefile.builds import Build, Plan
from bakery.model import Artifact
from bakery.redaction.redactor import Redactor
from bakery.reporting.bus import Bus, Reporter
from bakery.reporting.summary import failed_event
from bakery.state.image_names import names_build
from bakery.state.journal import Journal
from bakery.state.project import State
from bakery.util.waiting import Cancel


@dataclass(frozen=True, kw_only=True)
class OneOffRun:
    """What visits need of the project.

    Args:
        jobs: the builds of the imagefile.
        state: the project's `.bakery`.
        readers: reporters.
        drivers: where drivers come from.
        redactor: knows the secrets.
        deadline: seconds for the whole visit; None for no limit.
    """

    jobs: Jobs
    state: State
    readers: Sequence[Reporter]
    drivers: Registry
    redactor: Redactor
    deadline: float | None = None

    def machine(self, build: Build, artifact: Artifact, action: Callable[[Scope, RunningMachine], int | None]) -> int:
        """Boot a throw-away machine of an image, do something there, destroy it, and return the exit code.

        Args:
            build: the build that made the image, or one that could have.
            artifact: the image.
            action: what to do on the machine; may return an exit code of its own, which then is the run's.
        """

        def boot(run: RunContext) -> int | None:
            with Scope(run, self.jobs[build.name]) as scope, scope.machine(artifact, role="smoke") as running:
                return action(scope, running)

        return self.go(build, artifact.driver, boot)

    def go(
        self, build: Build, driver: str, action: Callable[[RunContext], int | None], *, needs_secrets: bool = False
    ) -> int:
        """Do something under a run of its own, told by its events, and return the exit code.

        Args:
            build: in whose name.
            driver: the driver's name, for the events.
            action: what to do; may return an exit code of its own.
            needs_secrets: True where none may be missing.
        """
        started = time.monotonic()
        with self._context() as run:
            run.emit(run_started(run, (build.name,)))
            run.folder.write_about(
                {"builds": [build.name], "imagefile": str(self.jobs.recipe.file), "started": time.time()}
            )
            run.emit(build_started(run, self.jobs[build.name], driver))
            try:
                self._learn(self.jobs[build.name], needed=needs_secrets)
                code = action(run) or 0
            except BakeryError as error:
                code = error.exit_code
                run.emit(failed_event(error, build=build.name, folder=run.folder.path))
            if run.folder.replay().live():
                code = CleanupError.exit_code
            seconds = time.monotonic() - started
            with suppress(OSError):  # on a full disk
                run.folder.write_about({**run.folder.about(), "ended": time.time(), "exit_code": code})
            cancelled = code == Interrupted.exit_code
            outcome: Outcome = "cancelled" if cancelled else "failed" if code else "ok"
            run.emit(BuildEnded(build=build.name, outcome=outcome, seconds=seconds))
            run.emit(RunEnded(seconds=seconds, exit_code=code))
            return code

    @contextmanager
    def _context(self) -> Generator[RunContext]:
        folder = self.state.new_run()
        bus = Bus(folder.id, self.redactor)
        for reader in self.readers:
            bus.add(reader)
        cancel = Cancel(time.monotonic() + self.deadline if self.deadline else None)

        def journaled(op: str, resource: Any) -> None:
            bus.emit(ResourceChanged(build=resource.build, op=op, resource=str(resource)))

        try:
            with Journal(folder.path, observe=journaled) as journal:
                run = RunContext(
                    jobs=self.jobs,
                    options=BuildOptions(),
                    state=self.state,
                    folder=folder,
                    journal=journal,
                    bus=bus,
                    redactor=self.redactor,
                    drivers=self.drivers,
                    cancel=cancel,
                )
                with Signals(cancel, run.emit):
                    yield run
        finally:
            bus.close()
            self.state.hand_over(folder.path)

    def _learn(self, job: Job, *, needed: bool) -> None:
        """Know the secrets that tests may print."""
        for error in job.missing_secrets.values() if needed else ():
            raise error
        for name, secret in job.secrets.items():
            self.redactor.add(secret, name)


def build_of(artifact: Artifact, plan: Plan, wanted: str | None = None) -> Build:
    """Return the build whose tests an image is to pass: the one that made it, else the one that the user names.

    Args:
        artifact: the image.
        plan: all builds of the imagefile.
        wanted: the user's name for an image of it, `web` or `web@laptop`; None where the artifact says enough.

    Raises:
        UsageError: it cannot be told, or several would fit and differ in their tests.
    """
    name = wanted or artifact.build
    named = [build for build in plan.builds if names_build(build.name, name, (build.image,))]
    exact = [build for build in named if build.name in (name, artifact.build)]
    found = exact or _same_driver(named, artifact)
    if not found and wanted is None:
        found = _same_driver(plan.builds, artifact) if len({build.spec for build in plan.builds}) == 1 else []
    if not found:
        known = ", ".join(sorted({build.image for build in plan.builds}))
        raise UsageError(
            f"no image of this imagefile belongs to {wanted or artifact.name!r}", hint=f"name one with --image: {known}"
        )
    if any(_tested_as(build, plan) != _tested_as(found[0], plan) for build in found):
        choices = ", ".join(f"{build.image}@{build.source}" for build in found)
        raise UsageError(
            f"{wanted or artifact.name!r} means {len(found)} builds, whose tests differ",
            hint=f"name one with --image: {choices}",
        )
    return found[0]


def _same_driver(builds: Sequence[Build], artifact: Artifact) -> list[Build]:
    return [build for build in builds if build.driver == artifact.driver] or [*builds]


def _tested_as(build: Build, plan: Plan) -> tuple[object, ...]:
    """Return what makes the tests of one build other than those of another."""
    return build.spec, build.tests, build.suites, plan.variables.get(build.name)
