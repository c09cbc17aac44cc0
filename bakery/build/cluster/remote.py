"""Making images on the machines of a cluster: the client's side of a run."""

from __future__ import annotations

import queue
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from bakery.build.cluster.assignment import Assignment, packed_options
from bakery.build.cluster.cluster_run import ClusterRun
from bakery.build.cluster.connection import Connection, Followers, KnownWorker
from bakery.build.cluster.placement import base_digest
from bakery.build.cluster.sending import Transfers
from bakery.build.cluster.tries import Mail
from bakery.build.cluster.watched import WatchedBuild
from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.build.phases import run_post_step
from bakery.build.scope import Scope
from bakery.errors import DriverError
from bakery.model import Artifact, to_json


class Cluster(ClusterRun):
    """A run's builds on the workers of a cluster.

    Args:
        connection: to the cluster.
        lease: seconds that a worker goes on without a word of ours.
    """

    def __init__(self, connection: Connection, *, lease: float = 60.0) -> None:
        super().__init__(connection, lease=lease)
        self._inboxes: dict[str, queue.SimpleQueue[Mail]] = {}

    @contextmanager
    def running(self, run: RunContext) -> Generator[None]:
        """Listen to the workers while the run goes on; afterwards nothing of it begins there any more."""
        self.transfers = Transfers(self.connection, run.cancel)
        self.followers = Followers(self.connection, run.folder.id, self._deliver)
        self.followers.start()
        try:
            yield
        finally:
            workers = [worker for worker in self.followers.workers if self.followers.answers(worker)]
            self.followers.stop()
            for worker in workers:
                try:
                    self.connection.call(worker.address, "bake_over", run=run.folder.id)
                except DriverError:
                    continue  # it is gone, or its builds' leases end soon
            (run.folder.path / "project.tar").unlink(missing_ok=True)
            self.connection.close()

    def bake(self, job: Job, run: RunContext, base: Artifact | None = None) -> Artifact:
        """Make one image on a worker, bring it here, and run its post steps here.

        Raises:
            BakeryError: of the family whose exit code says what failed.
        """
        inbox = self._inboxes[job.name] = queue.SimpleQueue()
        assignment = self._assignment(job, run, base)
        watched = WatchedBuild(cluster=self, run=run, job=job, assignment=assignment, inbox=inbox, base=base)
        try:
            artifact = watched.follow()
        finally:
            self._inboxes.pop(job.name, None)
        if post := job.post:
            with Scope(run, job) as scope:
                for step in post:
                    run_post_step(scope, step, artifact)
        return artifact

    def _assignment(self, job: Job, run: RunContext, base: Artifact | None) -> Assignment:
        project = self.project(run)
        is_file = base is not None and base.id.startswith("/")
        mine = set(job.secrets) - set(self._not_sent(job))
        return Assignment(
            run=run.folder.id,
            build=job.name,
            project=project.archive.digest,
            imagefile=run.imagefile.name,
            values=project.values,
            secrets=tuple(sorted(mine)),
            image=run.naming.foresee(job, run.state),
            base=None if base is None else _json(base),
            base_file=base.sha256 if base is not None and is_file else "",
            base_digest=base_digest(job.build),
            options=packed_options(run.options),
            lease=self.lease,
        )

    def _deliver(self, worker: KnownWorker, skew: float, told: Mapping[str, Any]) -> None:
        inbox = self._inboxes.get(told["build"])
        if inbox is not None:
            inbox.put(Mail(worker, told["attempt"], skew, tuple(told["messages"])))


def _json(artifact: Artifact) -> dict[str, Any]:
    shown = to_json(artifact)
    assert isinstance(shown, dict)  # noqa: S101  a dataclass becomes one
    return shown
