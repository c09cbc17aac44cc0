"""One page in the run's folder that shows everything: builds, phases in time, steps with output, tests, failures."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from bakery import events as e
from bakery.reporting.files import FileReporter
from bakery.reporting.formatting import because, duration, plain
from bakery.reporting.run_state import BuildState, RunState, Span
from bakery.reporting.summary import REPORT, VERDICTS, artifact, failure, outcome, took, word
from bakery.util.units import counted

if TYPE_CHECKING:
    from jinja2 import Environment


class Html(FileReporter):
    """Writes one self-contained file when the run is over: no script, nothing loaded from elsewhere."""

    file: ClassVar[str] = REPORT

    def content(self) -> bytes:
        """Return the whole page."""
        return page(self.board).encode(errors="backslashreplace")


def page(board: RunState) -> str:
    """Return the whole page."""
    total = max([1e-3, *(_end(board, bar) - board.began for t in board.tracks.values() for bar in t.bars)])
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            board=board,
            began=datetime.fromtimestamp(board.began).astimezone(),
            exit_code=board.ended.exit_code if board.ended else None,
            total=board.ended.seconds if board.ended else total,
            failures=[dict(_failure(failed, None)) for failed in board.failures],
            tracks=[_track(board, track, total) for track in board.tracks.values()],
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bakery.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"counted": counted, "duration": duration, "plain": plain}
    environment.filters.update(filters)
    return environment


def _track(board: RunState, track: BuildState, total: float) -> dict[str, Any]:
    return {
        "name": track.name,
        "image": track.image,
        "driver": track.driver,
        "outcome": outcome(track),
        "word": word(track),
        "seconds": took(board, track),
        "reason": track.ended.reason if track.ended else "",
        "artifact": artifact(track.artifact) if track.artifact else "",
        "doubt": VERDICTS.get(track.artifact.verdict, "") if track.artifact else "",
        "failure": dict(_failure(track.failure, track)) if track.failure else {},
        "phases": track.phases(),
        "bars": [_bar(board, bar, total) for bar in track.bars],
        "tests": track.tests,
        "passed": sum(test.outcome == "passed" for test in track.tests),
    }


def _failure(failed: e.Failed, track: BuildState | None) -> list[tuple[str, str]]:
    return list(failure(failed, track))


def _bar(board: RunState, bar: Span, total: float) -> dict[str, Any]:
    seconds = _end(board, bar) - bar.began
    return {
        "name": bar.name + (f", attempt {bar.attempt}" if bar.attempt > 1 else ""),
        "kind": bar.kind,
        "outcome": bar.outcome or "unfinished",
        "remark": because(plain(bar.reason)) if bar.outcome == "ok" else plain(bar.reason),
        "location": bar.location,
        "seconds": seconds,
        "left": 100 * max(0.0, bar.began - board.began) / total,
        "width": max(0.2, 100 * seconds / total),
        "lines": [plain(line) for line in bar.lines],
    }


def _end(board: RunState, bar: Span) -> float:
    """When a bar ended; one that was cut off lasts until the run did."""
    if bar.seconds is not None:
        return bar.began + bar.seconds
    return max(bar.began, board.began + board.ended.seconds) if board.ended else bar.began
