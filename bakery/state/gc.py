"""Destroying what dead runs left behind, from their journals, or from the tags that everything carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from bakery.errors import BakeryError, CleanupError
from bakery.model import Resource, Where
from bakery.state import progress
from bakery.state.destroy import Destroyer, destroy_all
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State
from bakery.util.waiting import Cancel


class Finder(Destroyer, Protocol):
    """The part of a driver that finds what carries our tags."""

    def find(self, where: Where) -> Iterator[Resource]:
        """Yield what is there, by its tags."""
        ...


@dataclass(kw_only=True)
class Swept:
    """What a sweep found and did.

    Args:
        destroyed: gone now (or that would go, in a dry run).
        left: still there, with the reason.
        alive: runs that a live process works on; not touched.
        held: runs kept on purpose by `--on-failure=keep`; only naming them takes them.
        unreadable: runs of another user; not touched.
        damaged: run id to numbers of journal lines that cannot be read.
        unfinished: what was half made in the cache, and is gone now (or would go); see `bakery.cache.bases.sweep`.
    """

    destroyed: list[Resource] = field(default_factory=list[Resource])
    left: list[CleanupError] = field(default_factory=list[CleanupError])
    alive: list[str] = field(default_factory=list[str])
    held: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])
    damaged: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    unfinished: list[str] = field(default_factory=list[str])

    @property
    def exit_code(self) -> int:
        """0, or 10 when something is left or unknown."""
        return CleanupError.exit_code if self.left or self.damaged else 0


def collect(
    state: State,
    drivers: Callable[[str], Destroyer],
    *,
    run: str | None = None,
    dry_run: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    cancel: Cancel | None = None,
) -> Swept:
    """Destroy what dead runs of this project left, by their journals.

    Args:
        state: the project's `.bakery`.
        drivers: where drivers come from.
        run: only this run, also when it was kept on purpose.
        dry_run: only say what would go.
        notify: told of each thing.
        cancel: ends waits.

    Raises:
        UsageError: there is no such run.
    """
    swept = Swept()
    for folder in [state.run(run)] if run else state.runs():
        _one(folder, drivers, swept, named=run is not None, dry_run=dry_run, notify=notify, cancel=cancel or Cancel())
    return swept


def _one(
    folder: RunFolder,
    drivers: Callable[[str], Destroyer],
    swept: Swept,
    *,
    named: bool,
    dry_run: bool,
    notify: Callable[[str], None],
    cancel: Cancel,
) -> None:
    if not folder.readable:
        swept.unreadable.append(folder.id)
        return
    try:
        journal = Journal(folder.path)
    except BlockingIOError:
        swept.alive.append(folder.id)
        return
    with journal:
        replayed = folder.replay()
        if replayed.damaged:
            swept.damaged[folder.id] = replayed.damaged
        live = replayed.live()
        if any(entry.op == "held" for entry in live) and not named:
            swept.held.append(folder.id)
            live = [entry for entry in live if entry.op != "held"]
        resources = [entry.resource for entry in live]
        if dry_run:
            swept.destroyed += list(reversed(resources))
            return
        errors = destroy_all(resources, driver=drivers, journal=journal, cancel=cancel, notify=notify)
        swept.left += errors
        failed = {str(error.what) for error in errors}
        swept.destroyed += [r for r in reversed(resources) if f"{r} could not be destroyed" not in failed]
        if folder.id not in swept.held:
            forget_keys(folder)


def forget_keys(folder: RunFolder) -> None:
    """No machine is left that they would open, or that could be gone on with; but one that another run took over."""
    moved = {entry.resource.key for entry in folder.replay().entries if entry.op == "moved"}
    for machine in folder.path.glob("machines/*"):
        if (note := progress.read(machine)) is None or not moved.intersection(key for _, key in note.things):
            (machine / "keys.json").unlink(missing_ok=True)
            progress.forget(machine)


def sweep(
    driver: Finder, where: Where, alive: Callable[[str], bool], *, dry_run: bool = False
) -> tuple[list[Resource], list[CleanupError]]:
    """Destroy what carries our tags at a provider, without any journal: for when the journal's disk is gone.

    Args:
        driver: the provider.
        where: which runs, how old.
        alive: says whether a run is still worked on here; such things are left alone.
        dry_run: only say what would go.

    Returns:
        What is gone (or would go), and what could not be destroyed.
    """
    gone: list[Resource] = []
    left: list[CleanupError] = []
    for resource in _found(driver, where, alive):
        if not dry_run:
            try:
                driver.destroy(resource)
            except BakeryError as error:
                left.append(CleanupError(f"{resource} could not be destroyed", why=str(error)))
                continue
        gone.append(resource)
    return gone, left


def _found(driver: Finder, where: Where, alive: Callable[[str], bool]) -> Iterator[Resource]:
    for resource in list(driver.find(where)):
        if not alive(resource.run):
            yield resource
