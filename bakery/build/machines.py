"""The machines of a build: launched, reached, handed over, and destroyed; also one's end while the next one starts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakery.build.background import BackgroundTasks
from bakery.build.build_events import BuildEvents, user_text
from bakery.build.claims import Claims
from bakery.build.resume import ResumableMachine
from bakery.build.running import RunningMachine
from bakery.build.stopped import Stopped
from bakery.drivers.base import Driver
from bakery.errors import DriverError, Interrupted
from bakery.events import MachineStarted, Notice
from bakery.imagefile.builds import Build
from bakery.machine.build_names import BuildNames
from bakery.model import Artifact, Checkpoint, Handle, Source
from bakery.redaction.logs import clean_logs
from bakery.state import progress
from bakery.state.claim import Claim
from bakery.state.ledger import ClaimLedger
from bakery.state.ssh_keys import save_keys
from bakery.util.retry import retry

if TYPE_CHECKING:
    from bakery.build.context import RunContext
    from bakery.build.job import Job

SETTLED = 60.0
"""Seconds that a machine which was taken over has to let us in: it has booted long ago."""


class Machines:
    """Starts the machines of one build, and sees to their end.

    Args:
        run: the run.
        build: whose machines they are.
        folder: the imagefile's: what a task's relative paths are relative to.
        claims: under which they are made.
        events: says what goes on.
        background: where a machine is destroyed while the next one starts.
    """

    def __init__(
        self,
        run: RunContext,
        build: Build,
        folder: Path,
        *,
        claims: Claims,
        events: BuildEvents,
        background: BackgroundTasks,
    ) -> None:
        self._run = run
        self._build = build
        self._folder = folder
        self._claims = claims
        self._events = events
        self._background = background
        self._done_with: list[Callable[[], None]] = []
        self._ending: list[Future[None]] = []
        self._prepared: tuple[Claim, ClaimLedger, Future[None]] | None = None
        self.keep_failed = False

    @contextmanager
    def start(
        self, boot: Source | Artifact | Checkpoint | ResumableMachine, role: str, of: Job | None = None
    ) -> Generator[RunningMachine]:
        """Launch, or take over, reach, hand over; afterwards destroy, whatever happened in between.

        Args:
            boot: what it starts from.
            role: what it is for: `build`, `smoke`, `clone`, `node`.
            of: the build that says how it is entered; the claims' own when not given.
        """
        driver = self._run.drivers.get(boot.driver)
        claim, ledger = self._claim(role, driver, of)
        if isinstance(boot, ResumableMachine):
            claim = boot.moves_to(claim)
        save_keys(claim.keys, claim.folder)
        left: RunningMachine | None = None
        well = False
        try:
            running = self._launch(driver, boot, claim, ledger)
            try:
                yield running
                well = True
            except BaseException as error:
                if self._explain_failure(running, error):
                    left = running
                raise
            finally:
                running.link.close()
        finally:
            if left is not None:
                self._leave(left, ledger)
            elif well and self._may_overlap(driver):
                self._done_with.append(lambda: self._end(claim, ledger))
            else:
                self._end(claim, ledger)

    # ---- its end ------------------------------------------------------------------------------------------------

    def _end(self, claim: Claim, ledger: ClaimLedger) -> None:
        """Destroy a machine, and what nobody needs any more."""
        self._claims.destroy(ledger)
        (claim.folder / "keys.json").unlink(missing_ok=True)
        progress.forget(claim.folder)
        clean_logs(claim.folder, self._run.redactor)

    def end_those_done_with(self) -> None:
        """Begin to destroy the machines that are done with; the next one has been asked for, or there is none."""
        self._ending += [self._background.start(end) for end in self._done_with]
        self._done_with.clear()

    def raise_what_went_wrong(self) -> None:
        """Raise what went wrong while machines were destroyed in the background, once that has ended."""
        for future in self._ending:
            future.result()

    def _leave(self, running: RunningMachine, ledger: ClaimLedger) -> None:
        """Leave the machine for somebody to look at, and say how."""
        from bakery.state.held_machines import remember

        remember(running.driver.endpoint(running.handle), running.claim.folder)
        ledger.hold()
        run = self._run.folder.id
        self._events.emit(
            Notice(message=f"the machine is kept: `bake ssh {run}` opens a shell, `bake gc {run}` destroys it")
        )

    def _explain_failure(self, running: RunningMachine, error: BaseException) -> bool:
        """Collect evidence; return True when the machine is to be kept."""
        from bakery.build.diagnostics import collect

        if isinstance(error, Stopped):
            return error.keep

        with self._run.cancel, suppress(OSError):  # a full disk must not hide what brought us here
            collect(running, error, self._run.folder.path / "failures" / self._claims.slug)
        if isinstance(error, Interrupted):
            return False
        return self.keep_failed or self._run.options.on_failure == "keep"

    # ---- what goes on beside the build --------------------------------------------------------------------------

    def prepare_test(self, driver: Driver[Any]) -> None:
        """Make what the machine that tests the image will need, while that is being captured."""
        if self._run.options.test and self._may_overlap(driver):
            claim, ledger = self._claims.new("smoke", driver.name)
            future = self._background.start(lambda: driver.prepare_launch(self._build.boot, claim))
            self._prepared = claim, ledger, future

    def _claim(self, role: str, driver: Driver[Any], of: Job | None) -> tuple[Claim, ClaimLedger]:
        """Return the claim under which things were made beforehand, else a fresh one."""
        if self._prepared is None or self._prepared[0].role != role:
            return self._claims.new(role, driver.name, of)
        claim, ledger, future = self._prepared
        self._prepared = None
        if (error := future.exception()) is not None:
            self._events.emit(Notice(message=f"not made beforehand: {user_text(error)}"))
        return claim, ledger

    def _may_overlap(self, driver: Driver[Any]) -> bool:
        return driver.name == self._build.driver and driver.overlaps(self._build.boot)

    # ---- its start ----------------------------------------------------------------------------------------------

    def _launch(
        self,
        driver: Driver[Any],
        boot: Source | Artifact | Checkpoint | ResumableMachine,
        claim: Claim,
        ledger: ClaimLedger,
    ) -> RunningMachine:
        from bakery.machine.machine import Machine
        from bakery.machine.transport.link import Link

        again = "re" if claim.role != "build" else ""
        if isinstance(boot, ResumableMachine):
            handle, timeout = boot.handle, min(SETTLED, claim.launch_timeout)
        else:
            timeout = claim.launch_timeout
            with self._events.phase(f"{again}launch"):
                handle = self._retried(lambda: self._launch_with_room(driver, boot, claim))
            details = tuple(f"{name}: {text}" for name, text in driver.describe(handle).items())
            self._events.emit(MachineStarted(role=claim.role, details=details))
        link = Link(
            lambda: driver.endpoint(handle),
            claim.keys,
            claim,
            console=lambda: driver.console(handle),
            timeout=timeout,
        )
        running = RunningMachine(
            driver=driver,
            handle=handle,
            claim=claim,
            link=link,
            held=ledger,
            machine=Machine(link, self._folder, claim, names=self._names()),
        )
        try:
            with self._events.phase(f"{again}connect"):
                link.open()
        except BaseException as error:
            self._explain_failure(running, error)
            link.close()
            raise
        return running

    def _names(self) -> BuildNames:
        """Return what scripts are told of their build."""
        build, run = self._build, self._run.folder
        folder = run.path / "files" / self._claims.slug
        return BuildNames(image=build.image, source=build.source, run=run.id, folder=folder)

    def _launch_with_room(self, driver: Driver[Any], boot: Source | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Launch; where there is no room before the machine before this one is gone, wait for that."""
        crowded = bool(self._done_with) or not all(future.done() for future in self._ending)
        try:
            return driver.launch(boot, claim)
        except DriverError as error:
            if not crowded:
                raise
            self._events.emit(Notice(message=f"{user_text(error)}; once more, when the machine before is gone"))
        finally:
            self.end_those_done_with()
        wait(self._ending)
        return driver.launch(boot, claim)

    def _retried(self, call: Callable[[], Handle]) -> Handle:
        """Ask a provider again while it says "for now"; the last error is the one that is raised, with the history."""

        def say(number: int, error: BaseException) -> None:
            message = f"attempt {number} failed: {user_text(error)}; trying again"
            self._events.emit(Notice(level="warning", message=message))

        return retry(call, self._run.cancel, attempts=3, first=0.5, longest=30, say=say)
