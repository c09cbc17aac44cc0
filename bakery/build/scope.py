"""One build's life: every phase it goes through, and the promise that what it made is unmade."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bakery.build.background import BackgroundTasks, T
from bakery.build.kept_images import write_down
from bakery.build.logins import login_for
from bakery.build.phase_timeouts import within
from bakery.build.resume import ResumableMachine
from bakery.build.running import RunningMachine
from bakery.drivers.base import Driver
from bakery.errors import BakeryError, CleanupError, DriverError, Interrupted
from bakery.events import Event, Notice, PhaseEnded, PhaseStarted
from bakery.imagefile.user_code import text_of
from bakery.machine.build_names import BuildNames
from bakery.model import Artifact, Checkpoint, Handle, Source
from bakery.redaction.logs import clean_logs
from bakery.state import progress
from bakery.state.claim import Claim
from bakery.state.destroy import destroy_all
from bakery.state.ledger import ClaimLedger, MergedLedger
from bakery.state.ssh_keys import make_keys, save_keys
from bakery.util.retry import retry

if TYPE_CHECKING:
    from bakery.build.context import RunContext
    from bakery.build.job import Job
    from bakery.drivers.publisher import Publisher
    from bakery.smoke.identity import Identity
    from bakery.smoke.job import Read

SETTLED = 60.0
"""Seconds that a machine which was taken over has to let us in: it has booted long ago."""


class Scope:
    """The life of one build. Leaving it destroys whatever is still ours, in reverse order."""

    def __init__(self, context: RunContext, job: Job) -> None:
        self.context = context
        self.job = job
        self.build = job.build
        self._holdings: list[ClaimLedger] = []
        self._images: dict[str, ClaimLedger] = {}
        self._count = 0
        self.clean_up: list[CleanupError] = []
        self.identity: Identity | None = None
        self.tests_read: tuple[Read, ...] = ()
        self.artifact: Artifact | None = None
        self.keep_machine = False
        self._aside = BackgroundTasks()
        self._due: list[Callable[[], None]] = []
        self._ending: list[Future[None]] = []
        self._foreseen: tuple[Claim, ClaimLedger, Future[None]] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Destroy what is left; raise when that fails and nothing else did."""
        self._end_due()
        self._aside.settle()
        for held in reversed(self._holdings):
            self._undo(held)
        if error is not None:
            return
        if self.clean_up:
            raise self.clean_up[0]
        for one in self._ending:
            one.result()

    # ---- small helpers ------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Send an event in this build's name."""
        self.context.emit(replace(event, build=self.build.name))

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time a phase and say how it ended."""
        self.context.cancel.check()
        started = time.monotonic()
        self.emit(PhaseStarted(phase=name))
        try:
            with self.limited(name):
                yield
        except BaseException as error:
            outcome = "cancelled" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
            self.emit(PhaseEnded(phase=name, seconds=time.monotonic() - started, outcome=outcome))  # type: ignore[arg-type]  # one of two literals
            raise
        self.emit(PhaseEnded(phase=name, seconds=time.monotonic() - started))

    def limited(self, phase: str) -> AbstractContextManager[None]:
        """Bound a phase by what `--phase-timeout` says of it."""
        return within(self.context.cancel, phase, self.context.options.phase_timeouts.get(phase))

    def claim(self, role: str, driver: str) -> tuple[Claim, ClaimLedger]:
        """Make the right to make things, with fresh keys and a private folder."""
        context, self._count = self.context, self._count + 1
        name = f"bakery-{context.run.id}-{self._slug}-{self._count}"[:200]
        folder = context.run.path / "machines" / f"{self._slug}-{self._count}"
        folder.mkdir(parents=True, mode=0o700)
        held = ClaimLedger(context.journal)
        self._holdings.append(held)
        expires = datetime.now(UTC) + timedelta(seconds=context.options.expire)
        tags = {"bakery:run": context.run.id, "bakery:build": self.build.name, "bakery:expires": f"{expires:%FT%TZ}"}
        claim = Claim(
            cache=context.state.cache,
            cancel=context.cancel,
            emit=context.emit,
            offline=context.options.offline,
            build=self.build.name,
            redact=context.redactor,
            run=context.run.id,
            role=role,
            name=name,
            folder=folder,
            tags=tags,
            driver=driver,
            launch_timeout=context.options.connect_timeout,
            keys=make_keys(f"bakery-{context.run.id}"),
            ledger=held,
            images=context.state.images_folder / self.build.source,
            login=login_for(self.job, role, driver),
        )
        context.redactor.add(claim.keys.user_private, "build key")
        context.redactor.add(claim.keys.host_private, "host key")
        claim.images.mkdir(parents=True, exist_ok=True)
        return claim, held

    def _undo(self, held: ClaimLedger) -> None:
        resources, held.resources = list(held.resources.values()), {}
        if not resources:
            return
        with self.context.cancel, self.phase("clean-up"):
            self.clean_up += destroy_all(
                resources,
                driver=self.context.drivers.get,
                journal=self.context.journal,
                cancel=self.context.cancel,
                notify=self._cleaning,
            )

    def _cleaning(self, what: str) -> None:
        from bakery.events import Waiting

        self.emit(Waiting(what=f"destroying {what}"))

    def beside(self, work: Callable[[], T]) -> Future[T]:
        """Do something while the build goes on; it has come to its end when the scope is left."""
        return self._aside.begin(work)

    # ---- machines -----------------------------------------------------------------------------------------------

    @contextmanager
    def machine(
        self, boot: Source | Artifact | Checkpoint | ResumableMachine, role: str = "build"
    ) -> Generator[RunningMachine]:
        """Launch, or take over, reach, hand over; afterwards destroy, whatever happened in between."""
        driver = self.context.drivers.get(boot.driver)
        claim, held = self._claim_of_machine(role, driver)
        if isinstance(boot, ResumableMachine):
            claim = boot.moves_to(claim, held)
        save_keys(claim.keys, claim.folder)
        kept: RunningMachine | None = None
        well = False
        try:
            running = self._launch(driver, boot, claim, held)
            try:
                yield running
                well = True
            except BaseException as error:
                if self._explain_failure(running, error):
                    kept = running
                raise
            finally:
                running.link.close()
        finally:
            if kept is not None:
                self._leave(kept, held)
            elif well and self._may_overlap(driver):
                self._due.append(lambda: self._end(claim, held))
            else:
                self._end(claim, held)

    def _end(self, claim: Claim, held: ClaimLedger) -> None:
        """Destroy a machine, and what nobody needs any more."""
        self._undo(held)
        (claim.folder / "keys.json").unlink(missing_ok=True)
        progress.forget(claim.folder)
        clean_logs(claim.folder, self.context.redactor)

    def _end_due(self) -> None:
        """Begin to destroy the machines that are done with; the next one has been asked for, or there is none."""
        self._ending += [self._aside.begin(end) for end in self._due]
        self._due.clear()

    def _may_overlap(self, driver: Driver[Any]) -> bool:
        return driver.name == self.build.driver and driver.overlaps(self.build.boot)

    def _claim_of_machine(self, role: str, driver: Driver[Any]) -> tuple[Claim, ClaimLedger]:
        """Return the claim under which things were made beforehand, else a fresh one."""
        foreseen = self._foreseen
        if foreseen is None or foreseen[0].role != role:
            return self.claim(role, driver.name)
        claim, held, made = foreseen
        self._foreseen = None
        if (error := made.exception()) is not None:
            self.emit(Notice(message=f"not made beforehand: {user_text(error)}"))
        return claim, held

    def _foresee(self, driver: Driver[Any]) -> None:
        """While the image is being captured, make what the machine that tests it will need."""
        if not (self.context.options.test and self._may_overlap(driver)):
            return
        claim, held = self.claim("smoke", driver.name)
        self._foreseen = claim, held, self._aside.begin(lambda: driver.prepare_launch(self.build.boot, claim))

    def _leave(self, running: RunningMachine, held: ClaimLedger) -> None:
        """Leave the machine for somebody to look at, and say how."""
        from bakery.state.held_machines import remember

        remember(running.driver.endpoint(running.handle), running.claim.folder)
        held.hold()
        run = self.context.run.id
        self.emit(Notice(message=f"the machine is kept: `bake ssh {run}` opens a shell, `bake gc {run}` destroys it"))

    def _launch(
        self,
        driver: Driver[Any],
        boot: Source | Artifact | Checkpoint | ResumableMachine,
        claim: Claim,
        held: ClaimLedger,
    ) -> RunningMachine:
        from bakery.machine.machine import Machine
        from bakery.machine.transport.link import Link

        retry = "re" if claim.role != "build" else ""
        if isinstance(boot, ResumableMachine):
            handle, patience = boot.handle, min(SETTLED, claim.launch_timeout)
        else:
            patience = claim.launch_timeout
            with self.phase(f"{retry}launch"):
                handle = self._retried(lambda: self._started(driver, boot, claim))
        link = Link(
            lambda: driver.endpoint(handle),
            claim.keys,
            claim,
            console=lambda: driver.console(handle),
            timeout=patience,
        )
        running = RunningMachine(
            driver=driver,
            handle=handle,
            claim=claim,
            link=link,
            held=held,
            machine=Machine(link, self.job.folder, claim, names=self._names()),
        )
        try:
            with self.phase(f"{retry}connect"):
                link.open()
        except BaseException as error:
            self._explain_failure(running, error)
            link.close()
            raise
        return running

    def _started(self, driver: Driver[Any], boot: Source | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Launch; where there is no room before the machine before this one is gone, wait for that."""
        crowded = bool(self._due) or not all(one.done() for one in self._ending)
        try:
            return driver.launch(boot, claim)
        except DriverError as error:
            if not crowded:
                raise
            self.emit(Notice(message=f"{user_text(error)}; once more, when the machine before is gone"))
        finally:
            self._end_due()
        wait(self._ending)
        return driver.launch(boot, claim)

    def _retried(self, call: Callable[[], Handle]) -> Handle:
        """Ask a provider again while it says "for now"; the last error is the one that is raised, with the history."""

        def say(number: int, error: BaseException) -> None:
            self.emit(Notice(level="warning", message=f"attempt {number} failed: {user_text(error)}; trying again"))

        return retry(call, self.context.cancel, attempts=3, first=0.5, longest=30, say=say)

    def _names(self) -> BuildNames:
        build, run = self.build, self.context.run
        return BuildNames(image=build.image, source=build.source, run=run.id, folder=run.path / "files" / self._slug)

    def _explain_failure(self, running: RunningMachine, error: BaseException) -> bool:
        """Collect evidence; return True when the machine is to be kept."""
        from bakery.build.diagnostics import collect

        with self.context.cancel, suppress(OSError):  # a full disk must not hide what brought us here
            collect(running, error, self.failure_folder)
        if isinstance(error, Interrupted):
            return False
        return self.keep_machine or self.context.options.on_failure == "keep"

    @property
    def failure_folder(self) -> Path:
        """Where the evidence of a failure goes."""
        return self.context.run.path / "failures" / self._slug

    @property
    def _slug(self) -> str:
        return "".join(char if char.isalnum() else "-" for char in self.build.name)

    # ---- capture and keep ---------------------------------------------------------------------------------------

    def capture(self, running: RunningMachine) -> Artifact:
        """Power off through the guest and make an image under a temporary name; ours until it is kept."""
        with self.phase("capture"):
            running.link.close()
            self._foresee(running.driver)
            claim, held = self.claim("image", running.driver.name)
            return self._taken(running.driver.capture(running.handle, self.build.image, claim), held)

    def publish(self, publisher: Publisher, local: Artifact) -> Artifact:
        """Take an image made here to a provider, under a temporary name; ours until it is kept."""
        with self.phase("publish"):
            self._foresee(self.context.drivers.get(publisher.driver))
            claim, held = self.claim("image", publisher.driver)
            return self._taken(publisher.publish(local, self.build.image, claim), held)

    def _taken(self, artifact: Artifact, held: ClaimLedger) -> Artifact:
        self._images[artifact.id] = held
        self.artifact = replace(artifact, build=self.build.name, created=artifact.created or datetime.now(UTC))
        return self.artifact

    def keep(self, artifact: Artifact) -> Artifact:
        """Make the tested image the user's: final name, copies, catalogue. No clean-up touches it afterwards."""
        if artifact.id not in self._images:  # it was kept before, and only tested again
            self.context.state.add_image(artifact)
            return artifact
        with self.phase("keep"):
            self._end_due()
            driver = self.context.drivers.get(artifact.driver)
            claim, held = self.claim("keep", artifact.driver)
            image = self._images.pop(artifact.id)
            both = replace(claim, ledger=MergedLedger(held, image))
            kept = driver.keep(artifact, self.build.image, both)
            kept = replace(
                kept,
                key=artifact.key,
                build=artifact.build,
                created=artifact.created,
                data={**artifact.data, **kept.data, "imagefile": self.job.imagefile.name},
            )
            both.commit()
            self.artifact = kept
            write_down(self.context, kept, f"artifact-{claim.folder.name}.json")
            return kept


def user_text(error: BaseException) -> str:
    """An error as one line for a reason field."""
    return error.what if isinstance(error, BakeryError) else f"{type(error).__name__}: {text_of(error)}".rstrip(": ")
