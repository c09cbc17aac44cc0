"""Where a run's builds may go: which workers fit, what is sent there, and who listens to them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bakery.build.cluster.connection import Connection, Followers, KnownWorker
from bakery.build.cluster.offers import demand, lacks, refuse_homeless
from bakery.build.cluster.placement import BuildPlacement
from bakery.build.cluster.project import SentProject, secret_environment
from bakery.build.cluster.security import is_encrypted
from bakery.build.cluster.sending import Transfers
from bakery.build.cluster.tries import Try
from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.build.preflight import needs_of
from bakery.errors import UsageError
from bakery.imagefile.base_images import has_further_disks
from bakery.imagefile.builds import Build
from bakery.model import Artifact

LEASE: Final = "BAKERY_CLUSTER_LEASE"
"""In the environment: seconds without a word of the client after which a worker gives a build up; 60 if not given."""


class ClusterRun:
    """What the builds of a run share on a cluster.

    Args:
        connection: to the cluster.
        lease: seconds that a worker goes on without a word of ours.
    """

    def __init__(self, connection: Connection, *, lease: float = 60.0) -> None:
        self.connection = connection
        self.lease = lease
        self.followers: Followers | None = None
        self.transfers: Transfers | None = None
        self._project: SentProject | None = None
        self._lock = threading.Lock()
        self.placement = BuildPlacement(0)

    @property
    def encrypted(self) -> bool:
        """Whether what travels cannot be read on the way."""
        return is_encrypted(self.connection.address)

    # ---- before anything is made ------------------------------------------------------------------------------------

    def has_secret(self, job: Job, name: str) -> bool:
        """Say whether a worker has a secret in its environment that nobody gave here."""
        wanted = f"secret {secret_environment(job, name)}"
        return any(wanted in worker.offer for worker in self.connection.workers())

    def check(self, run: RunContext, builds: Sequence[Build]) -> None:
        """See that each build has a worker, and that its secrets can come there.

        Raises:
            PreflightError: one has none; with what each worker lacks.
            UsageError: the run has options that only this host can follow, or an image has several disks.
        """
        _refuse_options(run)
        _refuse_further_disks(run, builds)
        _refuse_nodes(builds)
        workers = self.connection.workers()
        refuse_homeless({build.name: self._demand(run, build) for build in builds}, self._named(workers))
        self.placement = BuildPlacement(len(builds))
        self.placement.look(self.connection, workers, builds)

    def _named(self, workers: Sequence[KnownWorker]) -> dict[str, Mapping[str, float]]:
        return {f"{worker.name} on {worker.host}": worker.offer for worker in workers}

    def _demand(self, run: RunContext, build: Build) -> dict[str, float]:
        """Return what a build takes of a worker; what `--limit` bounds is counted here, for the whole cluster."""
        needs = needs_of(run, build)
        labels = {name: count for name, count in build.labels.items() if name not in run.options.limits}
        secrets = [secret_environment(run.jobs[build.name], name) for name in self._not_sent(run.jobs[build.name])]
        return demand(driver=build.driver, memory=needs.memory, cpus=needs.cpus, labels=labels, secrets=secrets)

    def _not_sent(self, job: Job) -> list[str]:
        """Return the secrets that a worker must have of its own: all of them where others could read along."""
        secret = [value.name for value in job.build.variables if value.secret]
        return [name for name in secret if not self.encrypted or name not in job.secrets]

    # ---- while it runs ----------------------------------------------------------------------------------------------

    def project(self, run: RunContext) -> SentProject:
        """Return the packed project of a run; packed once."""
        with self._lock:
            self._project = self._project or SentProject.of(run)
            return self._project

    def send_missing(
        self, run: RunContext, job: Job, one: Try, message: Mapping[str, Any], base: Artifact | None
    ) -> None:
        """Send what a worker lacks; secrets go straight to it, and only where nobody can read along.

        Args:
            run, job: the build.
            one: the try that waits for it.
            message: what it lacks.
            base: the image that the build stands on.

        Raises:
            DriverError: it does not arrive.
        """
        assert self.transfers is not None  # noqa: S101  it is there while the run goes on
        project = self.project(run).archive
        for digest in message["content"]:
            if digest == project.digest:
                self.transfers.send(one.worker.address, digest, project.path)
            elif base is not None:
                self.transfers.send(one.worker.address, digest, base.path)
        if message["secrets"]:
            assert self.encrypted  # noqa: S101  the assignment names none otherwise
            secrets = {name: job.secrets[name].reveal() for name in message["secrets"]}
            self.connection.call(one.worker.address, "bake_secrets", attempt=one.number, secrets=secrets)

    def demand_of(self, run: RunContext, job: Job) -> dict[str, float]:
        """Return what a build takes, as Dask's resources."""
        return self._demand(run, job.build)

    def refuse_homeless(self, run: RunContext, job: Job) -> None:
        """See, while a build waits, that there is still a worker that could take it.

        Raises:
            PreflightError: there is none any more.
        """
        if self.followers is not None and self.followers.seen:
            refuse_homeless({job.name: self._demand(run, job.build)}, self._named(self.followers.workers))

    def fitting(self, run: RunContext, job: Job) -> list[str]:
        """Return the addresses of workers that could take a build, and have answered just now."""
        return [worker.address for worker in self._fitting(run, job)]

    def best(self, run: RunContext, job: Job, image: str) -> list[str]:
        """Return the addresses of workers where a build would best be; none where that does not matter.

        Args:
            run: the run.
            job: the build.
            image: digest of the image's file that it stands on; empty where it is none.
        """
        return self.placement.best(job.build, image, self._fitting(run, job))

    def _fitting(self, run: RunContext, job: Job) -> list[KnownWorker]:
        """Return the workers that could take a build, and have answered just now."""
        if self.followers is None:
            return []
        needed, answers = self._demand(run, job.build), self.followers.answers
        return [worker for worker in self.followers.workers if not lacks(needed, worker.offer) and answers(worker)]


def _refuse_further_disks(run: RunContext, builds: Sequence[Build]) -> None:
    linked = {build.name: build for build in run.jobs.plan.builds}
    for build in builds:
        if has_further_disks(build, linked):
            raise UsageError(
                f"{build.name} is an image of several disks, of which a worker sends back the first",
                hint="build it here, without --on and BAKERY_CLUSTER",
            )


def _refuse_options(run: RunContext) -> None:
    """Refuse what needs the machine to be on this host.

    Raises:
        UsageError: with what to do instead.
    """
    options = run.options
    refused = {
        "--step": options.step,
        "--stop-at": bool(options.stop_at),
        f"--on-failure={options.on_failure}": options.on_failure != "destroy",
        "--resume": options.resume is not None,
    }
    for name, given in refused.items():
        if given:
            raise UsageError(
                f"{name} does not go with --on", why="the machine is on a worker", hint="build it here, without --on"
            )


def _refuse_nodes(builds: Sequence[Build]) -> None:
    """Refuse images that are tested beside others: these would have to be on the same worker.

    Raises:
        UsageError: with what to do instead.
    """
    for build in builds:
        if build.nodes:
            raise UsageError(
                f"{build.name} is tested beside {', '.join(build.nodes.values())}",
                why="machines of several images are put onto one network on this host alone",
                hint="build it here, without --on",
            )


def lease_of(environ: Mapping[str, str]) -> float:
    """Return the seconds of a lease.

    Raises:
        UsageError: it is no number, or too short.
    """
    text = environ.get(LEASE, "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if seconds < 3:  # noqa: PLR2004  two polls and a late answer
        raise UsageError(f"{LEASE}={text} is no lease", hint="write seconds, 3 or more")
    return seconds
