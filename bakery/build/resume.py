"""Going on with a run that was killed: its machines that still run may be taken over, all else that it left goes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bakery.drivers.base import Driver
from bakery.errors import CleanupError, UsageError
from bakery.events import Notice
from bakery.model import Handle, Resource
from bakery.state import progress
from bakery.state.claim import Claim
from bakery.state.destroy import destroy_all
from bakery.state.gc import forget_keys
from bakery.state.journal import Journal, JournalDamaged
from bakery.state.progress import BuildProgress, Note
from bakery.state.project import RunFolder
from bakery.state.ssh_keys import read_keys
from bakery.util.waiting import Cancel


@dataclass(frozen=True, kw_only=True)
class ResumableMachine:
    """A machine of a run that was killed.

    Args:
        note: what was written beside it.
        folder: its folder.
        resources: all that was made for it, as the dead run's journal knows it.
        journal: that journal.
    """

    note: Note
    folder: Path
    resources: tuple[Resource, ...]
    journal: Journal

    @property
    def driver(self) -> str:
        """The name of its driver."""
        return self.note.handle.driver

    @property
    def handle(self) -> Handle:
        """How its driver knows it."""
        return self.note.handle

    @property
    def progress(self) -> BuildProgress:
        """How far it has come."""
        return self.note.progress

    def moves_to(self, claim: Claim) -> Claim:
        """Make a living run responsible for the machine; return its claim with the machine's name, keys and folder.

        The new journal is written first: a crash in between leaves both responsible, and neither is a leak. The new
        run's folder for a machine becomes a link to the old one, where its programs have files open.
        """
        for resource in self.resources:
            claim.ledger.made(resource)
        for resource in self.resources:
            self.journal.moved(resource)
        claim.folder.rmdir()
        claim.folder.symlink_to(self.folder)
        return replace(claim, name=self.note.name, folder=self.folder, keys=read_keys(self.folder))


class ResumedRun:
    """A run that was killed and is gone on with. While this is open, that run counts as alive, so that no `bake gc`
    destroys what is about to be taken over.

    Args:
        run: its folder.
        drivers: where drivers come from.
        cancel: ends waits.

    Raises:
        UsageError: it still goes on.
    """

    def __init__(self, run: RunFolder, drivers: Callable[[str], Driver[Any]], cancel: Cancel) -> None:
        self.run = run
        self._drivers = drivers
        self._cancel = cancel
        self._survivors: dict[str, ResumableMachine] = {}
        try:
            self._journal = Journal(run.path)
        except BlockingIOError:
            raise UsageError(f"the run {run.id} still goes on", hint="wait for it, or interrupt it") from None

    def clear(self, builds: Collection[str]) -> int:
        """Destroy all that it left but the machines that may be taken over.

        Args:
            builds: the names of the builds that are to be gone on with.

        Returns:
            How many things were destroyed.

        Raises:
            JournalDamaged: nobody knows all that it left.
            CleanupError: something cannot be destroyed.
        """
        replayed = self.run.replay()
        if replayed.damaged:
            lines = ", ".join(map(str, replayed.damaged))
            raise JournalDamaged(
                f"the journal of {self.run.id} is damaged",
                why=f"lines that cannot be read: {lines}",
                hint=f"`bake gc {self.run.id}` destroys what the other lines tell of; look at the provider for more",
            )
        live = [entry.resource for entry in replayed.live()]
        for folder in sorted(self.run.path.glob(f"machines/*/{progress.FILE}")):
            survivor = self._survivor(folder.parent, live)
            if survivor is not None and survivor.note.build in builds:
                self._survivors[survivor.note.build] = survivor
        spared = [resource for survivor in self._survivors.values() for resource in survivor.resources]
        return self._destroy([resource for resource in live if resource not in spared])

    def _survivor(self, folder: Path, live: list[Resource]) -> ResumableMachine | None:
        """Return the machine, which counts only while all that was made for it is still there."""
        note = progress.read(folder)
        if note is None or not (folder / "keys.json").exists():
            return None
        things = {(resource.kind, resource.key): resource for resource in live if resource.driver == note.handle.driver}
        if any(thing not in things for thing in note.things):
            return None
        resources = tuple(things[thing] for thing in note.things)
        return ResumableMachine(note=note, folder=folder.resolve(), resources=resources, journal=self._journal)

    def survivor(self, build: str) -> ResumableMachine | None:
        """Return a build's machine, for whoever takes it over or gives it up; nobody else is given it."""
        return self._survivors.pop(build, None)

    def give_up(self, survivor: ResumableMachine) -> None:
        """Destroy a machine that nobody goes on with.

        Raises:
            CleanupError: it cannot be destroyed.
        """
        self._destroy(list(survivor.resources))

    def close(self, *, spare: bool = False) -> list[Notice]:
        """Let go of the run, after destroying what nobody took over.

        Args:
            spare: leave it, for another attempt or a `bake gc`.

        Returns:
            What to tell the user of each machine that was left.

        Raises:
            CleanupError: something cannot be destroyed.
        """
        try:
            if spare and self._survivors:
                hint = f"`bake build --resume {self.run.id}` goes on with it, `bake gc {self.run.id}` destroys it"
                things = [survivor.handle.resource for survivor in self._survivors.values()]
                return [Notice(level="warning", message=f"{thing} still runs", hint=hint) for thing in things]
            for build in list(self._survivors):
                if (survivor := self.survivor(build)) is not None:
                    self.give_up(survivor)
            forget_keys(self.run)
            return []
        finally:
            self._journal.close()

    def _destroy(self, resources: list[Resource]) -> int:
        left: list[CleanupError] = destroy_all(
            resources, driver=self._drivers, journal=self._journal, cancel=self._cancel
        )
        if left:
            raise left[0]
        return len(resources)
