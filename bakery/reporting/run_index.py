"""A page over all runs of a project: how each ended, how long it took, and the way to its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bakery.reporting import charts
from bakery.reporting.formatting import plain
from bakery.reporting.html import render

KINDS: Final = {"ok": "ok", "cancelled": "cancelled", "alive": "unfinished", "killed": "unfinished"}


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run.

    Args:
        id: its name.
        link: the way from the page to its report; empty where it has none.
        state: `ok`, `cancelled`, `killed`, `alive`, `exit code 8`.
        started: seconds since the epoch; None where nobody knows.
        seconds: how long it took; None while it goes on, or where nobody knows.
        builds: its builds' names.
    """

    id: str
    link: str = ""
    state: str
    started: float | None = None
    seconds: float | None = None
    builds: Sequence[str] = ()


def index(project: str, runs: Sequence[RunLine]) -> str:
    """Return the page.

    Args:
        project: the project's name.
        runs: oldest first.
    """
    longest = max([run.seconds or 0.0 for run in runs] or [0.0])
    kinds = [KINDS.get(run.state, "failed") for run in runs]
    return render(
        "index.html.j2",
        project=plain(project),
        runs=[_shown(run, longest) for run in reversed(runs)],
        longest=longest,
        good=kinds.count("ok"),
        bad=kinds.count("failed"),
    )


def _shown(run: RunLine, longest: float) -> dict[str, Any]:
    known = run.seconds is not None
    return {
        "id": plain(run.id),
        "link": run.link,
        "state": plain(run.state),
        "kind": KINDS.get(run.state, "failed"),
        "started": f"{datetime.fromtimestamp(run.started).astimezone():%Y-%m-%d %H:%M}" if run.started else "",
        "bar": charts.bar(run.id, 0.0, run.seconds or 0.0, max(longest, 1e-3)) if known else None,
        "builds": [plain(build) for build in run.builds],
    }
