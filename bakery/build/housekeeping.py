"""What is tidied after a run: bases that nobody asked for lately, and old runs, where they take more than they may."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bakery.build.context import RunContext
from bakery.cache import bases
from bakery.cache.checkpoints import inventory
from bakery.cache.checkpoints.store import size_limit
from bakery.events import Notice
from bakery.state.project import RunFolder, State
from bakery.util.units import counted, format_size

RUNS: Final = "BAKERY_RUNS_LIMIT"
RUNS_LIMIT: Final = 1 << 30
"""Bytes that the runs of a project may take together: events, consoles, reports."""
SPARED: Final = 20
"""Runs that stay in any case, the newest."""


def tidy(run: RunContext) -> None:
    """Bring bases and runs below their limits, and say what went. No trouble here is the run's.

    Args:
        run: the run that is over.
    """
    environ = run.jobs.settings.environ
    try:
        gone = bases.fit(run.store(""), bases.limit(environ))
        old = prune_runs(run.state, environ)
    except OSError as error:
        run.emit(Notice(level="warning", message=f"old bases and runs are not tidied away: {error}"))
        return
    if gone:
        amount = format_size(sum(entry.size for entry in gone))
        run.emit(Notice(message=f"{counted(len(gone), 'base')} not used lately went from the cache, {amount}"))
    if old:
        run.emit(Notice(message=f"{counted(len(old), 'old run')} went; {RUNS} says how much they may take"))


def prune_runs(state: State, environ: Mapping[str, str], *, dry_run: bool = False) -> list[str]:
    """Delete the oldest runs until the rest fits. What is alive, left something behind or is another user's stays.

    Args:
        state: the project's.
        environ: `BAKERY_RUNS_LIMIT` (`1G`).
        dry_run: only say which.

    Returns:
        Their ids.
    """
    most = size_limit(environ, RUNS, RUNS_LIMIT)
    runs = state.runs()
    sizes = {folder.id: _size(folder.path) for folder in runs if folder.readable}
    total = sum(sizes.values())
    gone: list[str] = []
    for folder in _finished(runs[: -SPARED or None]):
        if total <= most:
            break
        total -= sizes[folder.id]
        gone.append(folder.id)
        if not dry_run:
            shutil.rmtree(folder.path)
    return gone


def _finished(runs: list[RunFolder]) -> Iterator[RunFolder]:
    """Yield those of which nothing is left but what they wrote."""
    for folder in runs:
        if folder.readable and not folder.alive and not folder.replay().live():
            yield folder


def _size(path: Path) -> int:
    unreadable: list[str] = []
    return inventory.size([path], unreadable)
