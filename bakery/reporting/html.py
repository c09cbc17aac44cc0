"""One page in the run's folder that shows everything: what failed, phases in time, tests, the boot, the packages."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bakery import events as e
from bakery.errors import near
from bakery.reporting import charts, evidence
from bakery.reporting.files import FileReporter
from bakery.reporting.formatting import because, duration, plain
from bakery.reporting.run_state import BuildState, RunState, Span, is_cancelled
from bakery.reporting.summary import REPORT, VERDICTS, counts, failure, outcome, took, word
from bakery.util.units import counted, format_size

if TYPE_CHECKING:
    from jinja2 import Environment


class Html(FileReporter):
    """Writes one self-contained file when the run is over: nothing is loaded from elsewhere."""

    file: ClassVar[str] = REPORT
    _loading = False

    def read(self, event: e.Event) -> None:
        """Take it in; while a machine boots there is time to load what draws the page."""
        super().read(event)
        if isinstance(event, e.MachineStarted) and not self._loading:
            self._loading = True
            threading.Thread(target=_load, name="bakery-report", daemon=True).start()

    def content(self) -> bytes:
        """Return the whole page."""
        return page(self.board).encode(errors="backslashreplace")


def _load() -> None:
    with suppress(Exception):  # whoever draws the page will meet it again
        _environment()


def page(board: RunState) -> str:
    """Return the whole page."""
    total = max([1e-3, *(_end(board, bar) - board.began for t in board.tracks.values() for bar in t.bars)])
    return render(
        "report.html.j2",
        board=board,
        verdict=_verdict(board),
        began=datetime.fromtimestamp(board.began).astimezone(),
        total=board.ended.seconds if board.ended else total,
        facts=dict(_facts(board)),
        failures=[dict(failure(failed)) for failed in board.failures],
        warnings=[notice for notice in board.notices if notice.level == "warning"],
        tracks=[_track(board, track, total, number) for number, track in enumerate(_bad_first(board), start=1)],
        ticks=charts.ticks(total),
    )


def render(template: str, **values: Any) -> str:
    """Return a page made of a template of ours, with the digests by which its policy lets style and script be."""
    environment = _environment()
    script = environment.get_template("copy.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(script=script, script_digest=digest, **values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    from bakery.reporting.compiled_templates import CompiledTemplates

    environment = Environment(
        bytecode_cache=CompiledTemplates(),
        loader=PackageLoader("bakery.reporting"),
        autoescape=select_autoescape(enabled_extensions=("j2",), default=True, disabled_extensions=("js",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"counted": counted, "duration": duration, "plain": plain, "size": format_size}
    environment.filters.update(filters)
    return environment


def _bad_first(board: RunState) -> list[BuildState]:
    return sorted(board.tracks.values(), key=lambda track: track.outcome not in ("failed", ""))


def _verdict(board: RunState) -> tuple[str, str]:
    """Return how a run ended: as styles name it, and as a sentence."""
    outcomes = [track.outcome for track in board.tracks.values()]
    failed, good = outcomes.count("failed"), outcomes.count("ok")
    if board.ended is None:
        return "unfinished", "unfinished: the run was killed, or goes on"
    if failed or any(not is_cancelled(event) for event in board.failures):
        return "failed", f"{failed} of {counted(len(outcomes), 'build')} failed" if failed else "failed"
    if board.ended.exit_code:
        return "cancelled", "cancelled"
    return ("ok", f"{counted(good, 'image')} made") if good else ("ok", "nothing had changed")


def _facts(board: RunState) -> Iterator[tuple[str, str]]:
    started = board.started
    commit = next((track.begun.commit for track in board.tracks.values() if track.begun and track.begun.commit), "")
    shown = {
        "command": started.command if started else "",
        "host": started.host if started else "",
        "bakery": started.version if started else "",
        "commit": commit,
        "exit code": str(board.ended.exit_code) if board.ended and board.ended.exit_code else "",
    }
    yield from ((name, plain(text)) for name, text in shown.items() if text)


def _track(board: RunState, track: BuildState, total: float, number: int) -> dict[str, Any]:
    failed = [test for test in track.tests if test.outcome in ("failed", "error")]
    seen = {test.text for test in failed}
    parts = dict(failure(track.failure, track)) if track.failure else {}
    return {
        "anchor": f"build-{number}",
        "name": track.name,
        "outcome": outcome(track),
        "word": word(track),
        "seconds": took(board, track),
        "reason": track.ended.reason if track.ended and outcome(track) == "skipped" else "",
        "image": track.artifact,
        "doubt": VERDICTS.get(track.artifact.verdict, "") if track.artifact else "",
        "place": near(track.artifact.id) if track.artifact else "",
        "failure": {label: text for label, text in parts.items() if text not in seen},
        "failed": [_test(board, test) for test in failed],
        "evidence": evidence.of_build(board.folder, track.name) if track.failure else evidence.Evidence(),
        "facts": dict(_build_facts(track)),
        "values": [plain(value) for value in track.begun.values] if track.begun else [],
        "rows": [_row(board, bar, total) for bar in track.bars],
        "counts": counts(track) if track.smoke_tests else "",
        "inspected": any(test.outcome == "passed" and test not in track.smoke_tests for test in track.tests),
        "tests": [_test(board, test) for test in track.smoke_tests if test not in failed],
        "packages": track.packages,
        "boot": charts.boot_chart(track.boot) if track.boot and track.boot.stages else None,
    }


def _build_facts(track: BuildState) -> Iterator[tuple[str, str]]:
    """Yield what a build was made with: driver, base, and what its driver says of the machine."""
    if track.driver:
        yield "driver", plain(track.driver)
    if track.begun and track.begun.base:
        yield "base", plain(track.begun.base)
    for machine in [machine for machine in track.machines if machine.details][:1]:  # a container has none
        for detail in machine.details:
            name, _, text = plain(detail).partition(": ")
            yield name, text


def _test(board: RunState, test: e.TestEnded) -> dict[str, Any]:
    return {
        "name": plain(test.test),
        "outcome": test.outcome,
        "seconds": test.seconds,
        "location": plain(test.location),
        "link": _link(board, test.location),
        "text": plain(test.text),
    }


def _row(board: RunState, span: Span, total: float) -> dict[str, Any]:
    seconds = _end(board, span) - span.began
    ended = span.outcome or "unfinished"
    remark = plain(span.reason)
    return {
        "name": span.name + (f", attempt {span.attempt}" if span.attempt > 1 else ""),
        "kind": span.kind,
        "outcome": ended,
        "remark": because(remark) if ended == "ok" else "" if ended == "cached" else remark,
        "location": plain(span.location),
        "link": _link(board, span.location),
        "seconds": seconds,
        "bar": charts.bar(span.name, span.began - board.began, seconds, total, kind=ended),
        "lines": [plain(line) for line in span.lines],
    }


def _link(board: RunState, location: str) -> str:
    """Return the way from the page to a file of the user's, where it is there; empty otherwise."""
    file, _, line = location.rpartition(":")
    path = Path.cwd() / file
    if not (board.folder and line.isdigit() and path.is_file()):
        return ""
    return f"{os.path.relpath(path, board.folder)}#L{line}"


def _end(board: RunState, bar: Span) -> float:
    """When a bar ended; one that was cut off lasts until the run did."""
    if bar.seconds is not None:
        return bar.began + bar.seconds
    return max(bar.began, board.began + board.ended.seconds) if board.ended else bar.began
