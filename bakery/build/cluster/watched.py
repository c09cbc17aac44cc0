"""One build on the cluster, from its start to its image: which try counts, and what becomes of the others."""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bakery.build.cluster.assignment import Assignment, unpacked_error
from bakery.build.cluster.cluster_run import ClusterRun
from bakery.build.cluster.connection import SILENT
from bakery.build.cluster.fetching import fetch_image, fetch_traces, remember, write_into_catalogue
from bakery.build.cluster.leftovers import MARGIN, destroy_leftovers
from bakery.build.cluster.messages import unpacked
from bakery.build.cluster.tries import Mail, Try, is_of_its_host
from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.errors import BakeryError, CleanupError, DriverError, Interrupted, UsageError
from bakery.events import Notice, ResourceChanged, Waiting
from bakery.model import Artifact, Resource, from_json
from bakery.util.files import slug

TICK: Final = 0.5
"""Seconds between two looks at what is not told by mail: the cancel token, silence."""
REPEAT: Final = 5.0
"""Seconds between two looks whether a build that waits still has a worker that could take it."""
MOST: Final = 4
"""Tries of a build that its workers gave up; then it fails."""
SHOWN: Final = frozenset({"event", "print"})
"""Kinds of messages that are for the user, of one try at a time."""
DISCOVERY: Final = 2.0
"""Seconds in which a try that Dask has just begun is heard of."""


class WatchedBuild:
    """One build on the cluster.

    Only what this holds counts: a try may keep its image once it is told so here, and one alone is told.

    Args:
        cluster: where.
        run: the run.
        job: the build.
        assignment: what travels.
        inbox: what the workers say of it.
        base: the image that it stands on.
    """

    def __init__(
        self,
        *,
        cluster: ClusterRun,
        run: RunContext,
        job: Job,
        assignment: Assignment,
        inbox: queue.SimpleQueue[Mail],
        base: Artifact | None,
    ) -> None:
        self.cluster, self.run, self.job = cluster, run, job
        self._assignment = assignment
        self._inbox = inbox
        self._base = base
        self._tries: dict[str, Try] = {}
        self._current: Try | None = None
        self._granted: Try | None = None
        self._name: tuple[str, str] | None = None
        self._future: Any = None
        self._submitted = 0
        self._submitted_at = 0.0
        self._only: frozenset[str] = frozenset()
        self._looked = 0.0
        self._told_to_wait = False
        self._cancelled_at: float | None = None

    def follow(self) -> Artifact:
        """Have the image made, and return it, here.

        Raises:
            BakeryError: it is not made.
        """
        self._submit()
        try:
            while True:
                self._read_mail()
                artifact = self._outcome()
                if artifact is not None:
                    return artifact
                self._mind_cancel()
                self._mind_tries()
        finally:
            self._future.cancel()
            destroy_leftovers(self.cluster, self.run, self._tries.values(), self._granted)

    # ---- handing it to Dask -----------------------------------------------------------------------------------------

    def _submit(self, workers: Sequence[str] = ()) -> None:
        """Hand it over.

        Args:
            workers: the only ones that may have it; all where none is named, best those that have its base.
        """
        self._submitted += 1
        self._submitted_at = time.monotonic()
        self._only = frozenset(workers)
        if self._future is not None:
            self._future.cancel()
        self._future = self.cluster.connection.submit(
            json.dumps(self._assignment.to_json()),
            key=f"bake-{self.run.folder.id}-{slug(self.job.name)}-{self._submitted}",
            resources=self.cluster.demand_of(self.run, self.job),
            workers=workers or self.cluster.best(self.run, self.job, self._assignment.base_file),
            strictly=bool(workers),
        )

    def _mind_tries(self) -> None:
        """See that there is one that goes on, and that it is one alone."""
        now = time.monotonic()
        going = [one for one in self._tries.values() if one.done is None and not one.lost]
        heard = [one for one in going if not one.is_silent]
        current = self._current
        if current is None or current not in heard:
            for one in heard:
                self._switch_to(one)
                return
        elif len(heard) > 1:
            for one in heard:
                if one is not current and now - one.began > SILENT:
                    self._tell(one, "bake_end", reason="another machine is making it")
        self._mind_grant()
        if not heard and self._cancelled_at is None:
            self._mind_absence(now, going)

    def _mind_absence(self, now: float, going: list[Try]) -> None:
        """Nothing of the build is heard: it waits for a worker, or its worker is lost."""
        for one in going:
            if now - one.heard > self._assignment.lease and self._is_over(one):
                going = [other for other in going if other is not one]
        if now - self._looked > REPEAT:
            self._looked = now
            if not going:
                self.cluster.refuse_homeless(self.run, self.job)
            self._free_of_gone_workers(going)
        if not self._told_to_wait and now - self._submitted_at > 1.0:
            self._told_to_wait = True
            what = f"an answer of {going[0].place}" if going else "a worker that is free"
            self.run.emit(Waiting(build=self.job.name, what=what))
        quiet = now - max(self._submitted_at, *(one.heard for one in self._tries.values()), 0.0)
        if going and not self._future.done():  # Dask may take five minutes to notice that a worker is out of reach
            if quiet > self._patience and (others := self._elsewhere(going)):
                self._begin_again(others)
        elif self._future.done() and quiet > (self._patience if going else SILENT):
            self._begin_again()

    @property
    def _patience(self) -> float:
        """Seconds that a worker which does not answer has before the build begins elsewhere."""
        return max(SILENT, self._assignment.lease / 2)

    def _elsewhere(self, going: list[Try]) -> list[str]:
        """Return the addresses of workers that could take the build, and have no try of it."""
        taken = {one.worker.address for one in going}
        return [address for address in self.cluster.fitting(self.run, self.job) if address not in taken]

    def _free_of_gone_workers(self, going: list[Try]) -> None:
        """Hand the build over anew where all that may have it are gone: Dask would wait for their addresses."""
        if self._only and not self._future.done() and self._only.isdisjoint(self.cluster.fitting(self.run, self.job)):
            self._submit(self._elsewhere(going))

    def _begin_again(self, workers: Sequence[str] = ()) -> None:
        """Hand the build over once more; Dask's own count of deaths blames those too that only waited for a worker.

        Raises:
            DriverError: it was lost too often: something in it may bring its host down.
        """
        if len(self._tries) >= MOST:
            places = ", ".join(one.place for one in self._tries.values())
            told = f"{self._future.exception()}" if self._future.status == "error" else ""
            raise DriverError(
                f"the build was begun {len(self._tries)} times, and lost each time with its worker",
                why=f"it was on {places}\n{told}".strip(),
                hint="something in it may bring its host down: the workers' own logs say more",
            )
        self._submit(workers)

    # ---- what the workers say ---------------------------------------------------------------------------------------

    def _read_mail(self) -> None:
        """Take what has come; wait a little where nothing has."""
        try:
            mail = self._inbox.get(timeout=TICK if self._tries else 4 * TICK)
        except queue.Empty:
            return
        while True:
            self._take(mail)
            try:
                mail = self._inbox.get_nowait()
            except queue.Empty:
                return

    def _take(self, mail: Mail) -> None:
        one = self._tries.get(mail.attempt)
        if one is None:
            one = self._tries[mail.attempt] = Try(number=mail.attempt, worker=mail.worker, skew=mail.skew)
            if self._current is None:
                self._switch_to(one)
        one.worker, one.heard = mail.worker, time.monotonic()
        for message in mail.messages:
            self._hear(one, message)

    def _switch_to(self, one: Try) -> None:
        """Show what this try says from now on."""
        before, self._current = self._current, one
        self._told_to_wait = False
        if before is not None:
            what = "does not answer" if before.done is None else "gave the build up"
            self.run.emit(
                Notice(
                    build=self.job.name, level="warning", message=f"{before.place} {what}: it goes on at {one.place}"
                )
            )
        else:
            self.run.emit(Notice(build=self.job.name, message=f"made by {one.place}"))
        backlog, one.backlog = one.backlog, []
        for message in backlog:
            self._show(one, message)

    def _hear(self, one: Try, text: str) -> None:
        kind = text.partition(" ")[0]
        if kind in SHOWN:
            if one is self._current:
                self._show(one, text)
            else:
                one.backlog.append(text)
            return
        _, message = unpacked(text)
        match kind:
            case "begins":
                one.project, one.state = message["project"], message["state"]
            case "want":
                try:
                    self.cluster.send_missing(self.run, self.job, one, message, self._base)
                except DriverError as error:  # its worker is gone, or will end it now
                    self._tell(one, "bake_end", reason=f"{error.what}: {error.why}")
            case "journal":
                self._journal(one, message)
            case "keep":
                one.asks = True
            case "kept":
                one.artifact = Artifact.from_json(message["artifact"])
                remember(self.run, self.job, message)
            case _:
                one.done = message

    def _show(self, one: Try, text: str) -> None:
        kind, _, what = text.partition(" ")
        if kind == "print":
            sys.stderr.write(one.here(json.loads(what)["text"], self.run))
        elif (event := one.event(what, self.run)) is not None:
            self.run.emit(event)

    def _journal(self, one: Try, message: Mapping[str, Any]) -> None:
        """Write what outlives its host into our journal too: `bake gc` destroys it from here when the host is gone."""
        op, resource = message["op"], from_json(Resource, message["resource"])
        one.note(op, resource)
        if is_of_its_host(resource):
            self.run.emit(ResourceChanged(build=self.job.name, op=op, resource=str(resource)))
        else:
            self.run.journal.write(op, resource)

    # ---- which image counts -----------------------------------------------------------------------------------------

    def _mind_grant(self) -> None:
        """Let one try keep its image: the first that asks, and another only once that one cannot keep it any more."""
        for one in [one for one in self._tries.values() if one.asks and one.done is None]:
            holder = self._granted
            if holder is None or holder is one or holder.done is not None or self._is_over(holder):
                self._grant(one)
            elif not holder.is_silent and self._tell(one, "bake_answer", told={"granted": False}):
                one.asks = False

    def _grant(self, one: Try) -> None:
        self._name = self._name or self.run.naming.take(self.job, self.run.state)
        self._granted = one
        told = {"granted": True, "name": self._name[0], "version": self._name[1]}
        if self._tell(one, "bake_answer", told=told):
            one.asks = False

    def _is_over(self, one: Try) -> bool:
        """Say whether a try that does not answer has ended by now: its lease is over, wherever it is."""
        followers = self.cluster.followers
        if followers is None or not one.is_silent:
            return False
        followers.give_up(one.number)  # what is not asked after is not renewed
        one.lost = time.monotonic() - followers.sent.get(one.number, 0.0) > self._assignment.lease + MARGIN
        return one.lost

    def _tell(self, one: Try, question: str, **what: Any) -> bool:
        """Tell a worker something about a try; False where it does not hear, and is told again later."""
        try:
            self.cluster.connection.call(one.worker.address, question, attempt=one.number, **what)
        except (DriverError, BakeryError):
            return False
        return True

    def _outcome(self) -> Artifact | None:
        """Return the image of a try that has ended well; raise what another one failed of."""
        for one in [one for one in self._tries.values() if one.done is not None and not one.lost]:
            done = one.done or {}
            if done["error"] is None and one.artifact is not None and one is self._granted:
                artifact = self._fetched(one)
                if artifact is not None:
                    return artifact
            elif done["error"] is not None and not self._given_up(one, done):
                raise self._error_of(one, unpacked_error(done["error"]))
            one.lost = True
        return None

    def _given_up(self, one: Try, done: Mapping[str, Any]) -> bool:
        """Say whether a try ended because its worker did, or because another has the image: no fault of the build's."""
        ended = bool(done.get("ended")) or (one is not self._granted and one is not self._current)
        if ended and self._cancelled_at is None:
            self._forget(one)
            return True
        return False

    def _fetched(self, one: Try) -> Artifact | None:
        """Bring the image here; None where it was lost with its worker meanwhile, and must be made again."""
        assert one.artifact is not None  # noqa: S101  asked before
        assert self.cluster.transfers is not None  # noqa: S101  it is there while the run goes on
        try:
            artifact = fetch_image(one, self.run, self.cluster.transfers)
        except (DriverError, UsageError) as error:  # the second: its lease was over, and it is destroyed
            self.run.emit(Notice(build=self.job.name, level="warning", message=f"{error.what}: {error.why}"))
            return None
        keeps = artifact.sha256 if artifact.id.startswith("/") else ""
        stood_on = keeps if any(self.job.name in build.after for build in self.run.jobs.plan.builds) else ""
        settled = self._settle(one, stood_on)
        if not settled and not keeps:  # at a provider: the worker destroys what nobody took
            return None
        if stood_on and settled:
            self.cluster.placement.remember_image(stood_on, one.worker.address)
        one.resources.clear()
        write_into_catalogue(one, self.run, artifact)
        return artifact

    def _error_of(self, one: Try, error: BakeryError) -> BakeryError:
        """Return a build's error with what explains it here, and with what is left on its host."""
        error = one.error_here(error, self.run)
        assert self.cluster.transfers is not None  # noqa: S101  it is there while the run goes on
        fetch_traces(one, self.run, self.cluster.transfers)
        left = [resource for resource in one.left() if is_of_its_host(resource)]
        self._forget(one)
        if not left:
            return error
        return CleanupError(
            f"something is left on {one.place}: {', '.join(map(str, left))}",
            why=str(error),
            hint=f"bake gc --on {self.cluster.connection.address} {self.run.folder.id}",
        )

    def _forget(self, one: Try) -> None:
        self._settle(one, "", tries=1)

    def _settle(self, one: Try, keep_base: str, *, tries: int = 3) -> bool:
        """Say that we have all of a try; False where its worker does not hear, or has destroyed all of it by now."""
        told: dict[str, Any] = {"attempt": one.number, "keep_base": keep_base}
        settled = False
        for _ in range(tries):
            try:
                settled = bool(self.cluster.connection.call(one.worker.address, "bake_settle", **told))
            except (DriverError, BakeryError):
                continue
            break
        if settled and self.cluster.followers is not None:
            self.cluster.followers.forget(one.number)
        return settled

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _mind_cancel(self) -> None:
        """End the build where the run is cancelled, and wait until what it made is destroyed."""
        reason = self.run.cancel.reason
        if not reason:
            return
        now = time.monotonic()
        going = [one for one in self._tries.values() if one.done is None and not one.lost]
        if self._cancelled_at is None:
            self._cancelled_at = now
            self._future.cancel()
        for one in going:
            with self.run.cancel:
                self._tell(one, "bake_end", reason=reason)
        over = all(one.is_silent for one in going)
        if over and now - self._cancelled_at > DISCOVERY:
            raise Interrupted(reason)
