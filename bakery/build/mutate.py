"""Testing the tests of an image: each machine of it has one thing broken, and its tests should notice.

Every machine is a throw-away, so that no change stands in another one's way. Where a driver can save a machine that has
just booted, one boots, and all go on from there; else each boots from the image.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.build.nodes import beside
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.smoke_tests import smoke_job, suite_run, summary
from bakery.cache.checkpoints.lease import Lease
from bakery.errors import BakeryError, ConnectError, DriverError, Interrupted, SmokeError
from bakery.events import Notice
from bakery.machine.reboot import STARTED
from bakery.model import Artifact, Checkpoint, Json
from bakery.reporting.bus import Bus
from bakery.smoke.job import SmokeReport
from bakery.smoke.mutations import FIND, Mutation, candidates, chosen
from bakery.util.units import counted

FIND_TIME = 300.0
BREAK_TIME = 120.0
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class MutationResult:
    """What the tests said of a machine with one thing broken.

    Args:
        mutation: what was broken.
        noticed: names of the tests that failed; what ended the run, where that could not go on.
        problem: why it could not be broken; empty where it was.
    """

    mutation: Mutation
    noticed: tuple[str, ...] = ()
    problem: str = ""

    def to_json(self) -> Json:
        """Return JSON data."""
        return {
            "kind": self.mutation.kind,
            "subject": self.mutation.subject,
            "change": str(self.mutation),
            "noticed": list(self.noticed),
            "problem": self.problem,
        }


class Mutants:
    """The broken machines of one image.

    Args:
        run: the run.
        job: the image's build, whose tests are tested.
        artifact: the image.
        kinds: what kinds of things are broken; all when empty.
        limit: machines at most.
        at_once: machines that run at the same time.
    """

    def __init__(
        self, run: RunContext, job: Job, artifact: Artifact, *, kinds: Sequence[str], limit: int, at_once: int
    ) -> None:
        self._run = run
        self._quiet = replace(run, bus=Bus(run.folder.id))  # what fails here is expected to fail
        self._job = job
        self._artifact = artifact
        self._start: Artifact | Checkpoint = artifact
        self._kinds = kinds
        self._limit = limit
        self._at_once = at_once
        self._lock = threading.Lock()
        self._started = 0
        self.results: list[MutationResult] = []

    def all(self) -> None:
        """Break one thing after the other.

        Raises:
            SmokeError: the tests fail on a machine that nothing is wrong with, or there is a change that they did not
                notice.
        """
        with Lease(self._run.store(self._job.name)) as lease:
            self._all(lease)

    def _all(self, lease: Lease) -> None:
        mutations = self._candidates(lease)
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="bakery-mutant") as pool:
            for future in [pool.submit(self._tell, mutation) for mutation in mutations]:
                future.result()
        missed = [str(result.mutation) for result in self.results if not result.noticed and not result.problem]
        if missed:
            raise SmokeError(
                f"the tests did not notice {len(missed)} of {counted(len(self._broken), 'change')}",
                why="\n".join(missed),
                hint="write a test for what matters among these",
            )

    @property
    def _broken(self) -> list[MutationResult]:
        return [result for result in self.results if not result.problem]

    def _candidates(self, lease: Lease) -> list[Mutation]:
        """Look for what can be broken on a machine that is well."""
        found, report = self._well(lease)
        if not report.ok:
            raise SmokeError(summary(report), why="nothing was broken yet", hint="`bake test` shows why")
        mutations = chosen(found, self._kinds, self._limit)
        left = len(chosen(found, self._kinds, len(found) + 1)) - len(mutations)
        more = f"; {left} more with a higher --limit" if left else ""
        self._run.emit(
            Notice(build=self._job.name, message=f"{counted(len(mutations), 'change')}, {self._at_once} at once{more}")
        )
        if not mutations:
            raise SmokeError("nothing was found that could be broken", hint="look at --kind")
        return mutations

    def _well(self, lease: Lease) -> tuple[list[Mutation], SmokeReport]:
        """Return what there is on a machine that nothing is wrong with, and what the tests say of it.

        Where they fail on one that was saved, it may be for that: then each machine boots.
        """
        self._start = self._saved(lease) or self._artifact
        if isinstance(self._start, Checkpoint):
            try:
                found, report = self._look()
                why = "" if report.ok else summary(report)
            except (DriverError, ConnectError, SmokeError) as error:
                why = error.what
            else:
                if not why:
                    return found, report
            lease.reject(self._start.key, why)
            self._notice(f"each machine boots: one that was saved after its boot is not as it was: {why}")
            self._start = self._artifact
        return self._look()

    def _look(self) -> tuple[list[Mutation], SmokeReport]:
        with self._machine(self._start) as (scope, running):
            found = candidates(running.machine.run(FIND, hide=True, timeout=FIND_TIME).stdout)
            return found, self._report(scope, running)

    def _saved(self, lease: Lease) -> Checkpoint | None:
        """Return a machine of the image as it was after its boot; None where that is not to be had."""
        image = self._artifact
        if not self._run.drivers.get(image.driver).saves_boot:
            return None
        key = hashlib.sha256(f"booted to be broken {image.sha256 or image.id}".encode()).hexdigest()
        if (known := lease.get(key)) is not None:
            return known
        place = lease.make(key, {"project": str(self._job.folder), "build": self._job.name, "task": "mutate"})
        if place is None:
            return None
        with self._machine(image) as (_, running):
            running.machine.run(STARTED, hide=True, warn=True, timeout=FIND_TIME)
            try:
                checkpoint = running.driver.checkpoint(running.handle, key, place.folder, running.claim)
            except Interrupted:
                raise
            except (BakeryError, OSError) as error:
                self._notice(f"each machine boots: none can be saved: {error}")
                return None
        if checkpoint is not None:
            place.keep(checkpoint)
        return checkpoint

    def _notice(self, message: str) -> None:
        self._run.emit(Notice(build=self._job.name, message=message))

    def _tell(self, mutation: Mutation) -> None:
        result = self._result(mutation)
        with self._lock:
            self.results.append(result)
        if result.problem:
            text = f"not tried: {mutation}: {result.problem}"
        elif result.noticed:
            text = f"noticed: {mutation}: {', '.join(result.noticed)}"
        else:
            text = f"NOT NOTICED: {mutation}"
        self._run.emit(Notice(build=self._job.name, level="info" if result.noticed else "warning", message=text))

    def _result(self, mutation: Mutation) -> MutationResult:
        self._run.cancel.check()
        with self._machine(self._start) as (scope, running):
            done = running.machine.run(mutation.script, warn=True, hide=True, timeout=BREAK_TIME)
            if done.failed:
                return MutationResult(
                    mutation=mutation, problem=(done.stderr or done.stdout).strip()[-200:] or "failed"
                )
            try:
                report = self._report(scope, running)
            except Interrupted:
                raise
            except BakeryError as error:
                return MutationResult(mutation=mutation, noticed=(error.what,))
        return MutationResult(mutation=mutation, noticed=tuple(result.test for result in report.failures))

    @contextmanager
    def _machine(self, boot: Artifact | Checkpoint) -> Generator[tuple[Scope, RunningMachine]]:
        with self._lock:
            self._started += 1
            part = f"change-{self._started}"
        with Scope(self._quiet, self._job, part) as scope, scope.machine(boot, role="smoke") as running:
            yield scope, running

    def _report(self, scope: Scope, running: RunningMachine) -> SmokeReport:
        from bakery.build.after_reboot import test_after_reboot
        from bakery.smoke.whole import run_all

        suite = suite_run(self._job, self._run.state)
        quiet = replace(running.claim, emit=lambda _: None)
        with beside(scope, running) as nodes:
            job = smoke_job(scope, running, nodes=nodes.others)
            job = replace(job, junit=running.claim.folder / "smoke.xml")
            return test_after_reboot(scope, running, run_all(job, suite, quiet), quiet, nodes)
