"""What one run shares between its builds: passed on, never global."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from bakery.build.git_commit import commit_of
from bakery.build.job import Job, Jobs
from bakery.build.versions import Naming
from bakery.cache.checkpoints.store import Store, limit
from bakery.cache.inputs.external import LocalInput
from bakery.cache.records import Record
from bakery.cache.shared.place import SharedPlace
from bakery.drivers.registry import Registry
from bakery.events import Event
from bakery.imagefile.builds import Build
from bakery.model import Artifact
from bakery.redaction.redactor import Redactor
from bakery.reporting.bus import Bus
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from bakery.build.resume import ResumedRun

OnFailure = Literal["destroy", "keep", "ask"]
Choice = Literal["retry", "skip", "keep", "destroy"]
PauseChoice = Literal["go", "keep", "destroy"]
DAY = 86400.0


class Asks(Protocol):
    """Whoever can ask the user what to do with a failed task: a terminal."""

    def __call__(self, step: str, error: BaseException, shell: Callable[[], None], check: Callable[[], None]) -> Choice:
        """Return the user's choice after a failure.

        Args:
            step: what failed.
            error: how.
            shell: opens one on the machine, and returns when it ends.
            check: raises when the run is cancelled, which must not wait for an answer.
        """
        ...

    def pause(self, where: str, shell: Callable[[], None], check: Callable[[], None]) -> PauseChoice:
        """Return what to do at a stop that was asked for.

        Args:
            where: the build, and before or after which task.
            shell, check: the same.
        """
        ...


class Elsewhere(Protocol):
    """Where builds are made on other machines: a cluster."""

    def has_secret(self, job: Job, name: str) -> bool:
        """Say whether a secret that nobody gave here is there."""
        ...

    def check(self, run: RunContext, builds: Sequence[Build]) -> None:
        """See that each build has a place.

        Raises:
            PreflightError: one has none; with what each machine lacks.
        """
        ...

    def bake(self, job: Job, run: RunContext, base: Artifact | None = None) -> Artifact:
        """Make one image there, and bring it here; what `bakery.build.bake.bake` does on this host."""
        ...


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to run.

    Args:
        jobs: builds at once; None for as many as the host has room for.
        on_failure: what happens to the machine of a task that failed.
        cache: False runs every step, and reads and writes no checkpoint.
        refresh: tasks to run again; `*` for all.
        stop_at: tasks before which the build stops.
        step: stop before each task, and after the last.
        test: False skips the smoke tests.
        output: where the artifact is copied besides; for a single build.
        output_name: the same as the user wrote it, which is what a Makefile calls it.
        began: seconds since the epoch, when the first input may have been read.
        inputs: what was read while the imagefile was loaded and planned; for the depfile.
        depfile: where the list of files it depended on is written, in Make's syntax.
        manifest: where it is written what the images are made of.
        deadline: seconds for the whole run.
        resume: the run to continue.
        offline: nothing may be downloaded.
        expire: seconds after which whatever is rented counts as forgotten.
        connect_timeout: seconds until a launched machine must let us in.
        limits: how much there is of each label.
        phase_timeouts: seconds for each phase that has a limit; see `bakery.build.phase_timeouts`.
        clones: machines booted from the image for the smoke tests; with two, they are compared.
    """

    jobs: int | None = None
    on_failure: OnFailure = "destroy"
    cache: bool = True
    refresh: frozenset[str] = frozenset()
    stop_at: frozenset[str] = frozenset()
    step: bool = False
    test: bool = True
    output: Path | None = None
    output_name: str = ""
    began: float = field(default_factory=time.time)
    inputs: frozenset[LocalInput] = frozenset()
    depfile: Path | None = None
    manifest: Path | None = None
    deadline: float | None = None
    resume: str | None = None
    offline: bool = False
    expire: float = DAY
    connect_timeout: float = 600.0
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    phase_timeouts: Mapping[str, float] = field(default_factory=dict[str, float])
    clones: int = 1


@dataclass(kw_only=True)
class RunContext:
    """One run's shared things.

    Two of them change: `jobs`, when a failed task is tried again after a fix, and `resumed`, once it is known.
    `artifacts` are the images that were made, or were up to date, so far, by build.
    `attempt` tells several tries of one build on several machines apart in names, `records` are what the steps of each
    build took in, and `elsewhere` is where builds are made if not on this host.
    """

    jobs: Jobs
    options: BuildOptions
    state: State
    folder: RunFolder
    journal: Journal
    bus: Bus
    redactor: Redactor
    drivers: Registry
    cancel: Cancel
    ask: Asks | None = None
    asking: threading.Lock = field(default_factory=threading.Lock)
    inputs: set[LocalInput] = field(default_factory=set[LocalInput])
    resumed: ResumedRun | None = None
    naming: Naming = field(default_factory=Naming)
    attempt: str = ""
    records: dict[str, tuple[Record, ...]] = field(default_factory=dict[str, tuple[Record, ...]])
    elsewhere: Elsewhere | None = None
    artifacts: dict[str, Artifact] = field(default_factory=dict[str, Artifact])

    @property
    def imagefile(self) -> Path:
        """The user's file."""
        return self.jobs.recipe.file

    @cached_property
    def commit(self) -> str:
        """The imagefile's commit in git; asked for once."""
        return commit_of(self.imagefile.parent, self.cancel)

    def work(self, build: str) -> WorkContext:
        """Return what code that makes files needs."""
        return WorkContext(
            cache=self.state.cache,
            cancel=self.cancel,
            emit=self.emit,
            offline=self.options.offline,
            build=build,
            redact=self.redactor,
        )

    def store(self, build: str) -> Store:
        """Return the checkpoints of this host's cache."""
        return Store(self.work(build), limit(self.jobs.settings.environ))

    @cached_property
    def shared_place(self) -> SharedPlace | None:
        """Where hosts share checkpoints; None where the environment names no such place.

        Raises:
            UsageError: its address is wrong.
            DriverError: it does not answer.
        """
        return SharedPlace.of(self.jobs.settings.environ)

    def emit(self, event: Event) -> None:
        """Send an event to every reader."""
        self.bus.emit(event)
