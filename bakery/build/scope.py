"""One build's life, and the promise that what it made is unmade."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from bakery.build.background import BackgroundTasks
from bakery.build.build_events import BuildEvents
from bakery.build.claims import Claims
from bakery.build.machines import Machines
from bakery.build.resume import ResumableMachine
from bakery.build.running import RunningMachine
from bakery.cache.checkpoints.lease import Lease
from bakery.events import Event
from bakery.model import Artifact, Checkpoint, Source
from bakery.state.ledger import ClaimLedger

if TYPE_CHECKING:
    from bakery.build.context import RunContext
    from bakery.build.job import Job
    from bakery.smoke.identity import Identity
    from bakery.smoke.job import Read

T = TypeVar("T")


class Scope:
    """The life of one build. Leaving it destroys whatever is still ours, in reverse order.

    Args:
        run: the run.
        job: the build. Another binding of it takes its place where a failed task was mended in the imagefile.
        part: tells several scopes of one build apart, in names; a run has one for each build otherwise.
    """

    def __init__(self, run: RunContext, job: Job, part: str = "") -> None:
        self.run = run
        self.job = job
        self.build = job.build
        self.events = BuildEvents(run, job.name)
        self.claims = Claims(run, lambda: self.job, self.events, part)
        self._background = BackgroundTasks()
        self.machines = Machines(
            run, job.build, job.folder, claims=self.claims, events=self.events, background=self._background
        )
        self.images: dict[str, ClaimLedger] = {}
        """What was captured and not kept yet, by the image's id."""
        self.identity: Identity | None = None
        """Who the machine was that the image is made of."""
        self.tests_read: tuple[Read, ...] = ()
        """What the smoke tests took in on this host."""
        self.results: tuple[tuple[str, str], ...] = ()
        """The smoke tests of the first machine, each with how it ended."""
        self.packages: dict[str, str] = {}
        """What is installed on the machine that the image is made of: versions by name."""
        self.base_key: str | None = None
        """The content key of what the build stands on, where it is known."""
        self._last = ExitStack()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Destroy what is left, then let go of checkpoints; raise when that fails and nothing else did."""
        with self._last:
            self.machines.end_those_done_with()
            self._background.wait()
            self.claims.destroy_all()
            if error is not None:
                return
            if self.claims.errors:
                raise self.claims.errors[0]
            self.machines.raise_what_went_wrong()

    @cached_property
    def lease(self) -> Lease:
        """The checkpoints that the build uses; no machine stands on one of them any more when it ends."""
        return self._last.enter_context(Lease(self.run.store(self.job.name)))

    def machine(
        self,
        boot: Source | Artifact | Checkpoint | ResumableMachine,
        role: str = "build",
        of: Job | None = None,
    ) -> AbstractContextManager[RunningMachine]:
        """Launch, or take over, reach, hand over; afterwards destroy, whatever happened in between.

        Args:
            boot: what it starts from.
            role: what it is for: `build`, `smoke`, `clone`, `node`.
            of: the build that says how it is entered; this one when not given.
        """
        return self.machines.start(boot, role, of)

    def in_background(self, work: Callable[[], T]) -> Future[T]:
        """Do something while the build goes on; it has come to its end when the scope is left."""
        return self._background.start(work)

    def emit(self, event: Event) -> None:
        """Send an event in this build's name."""
        self.events.emit(event)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a phase and say how it ended."""
        return self.events.phase(name)

    def limited(self, phase: str) -> AbstractContextManager[None]:
        """Bound a phase by what `--phase-timeout` says of it."""
        return self.events.limited(phase)
