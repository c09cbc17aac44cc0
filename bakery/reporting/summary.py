"""What is said at the end: why something failed, where the time went, where the images are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bakery import events as e
from bakery.errors import BakeryError, near
from bakery.reporting.formatting import SHORT, duration, indent, plain
from bakery.reporting.run_state import BuildState, RunState, is_cancelled
from bakery.util.units import format_size

REPORT: Final = "report.html"
"""The page in a run's folder that shows everything."""
VERDICTS: Final = {"untested": "not tested", "failed": "tests failed"}
"""What is said of a kept image that did not pass; that one passed goes without saying."""


def failed_event(error: BakeryError, *, build: str = "", folder: Path | None = None) -> e.Failed:
    """Return the event that tells of an error.

    Args:
        error: what went wrong.
        build: whose it is; empty for one of the whole run.
        folder: where the files are that tell more.
    """
    return e.Failed(
        build=build,
        error=type(error).__name__,
        what=error.what,
        why=error.why,
        hint=error.hint,
        location=str(error.where or ""),
        exit_code=error.exit_code,
        folder=str(folder or ""),
    )


def failure(event: e.Failed, track: BuildState | None = None) -> Iterator[tuple[str, str]]:
    """Yield the parts of an error as label and text: what, where, why, output, hint, files."""
    yield "what", plain(event.what)
    if event.location:
        yield "where", plain(event.location)
    if event.why:
        yield "why", plain(event.why).strip("\n")
    seen = set(plain(event.why).splitlines())
    lines = [line for line in (map(plain, track.last_lines()) if track else ()) if line not in seen]
    if lines:
        yield "output", "\n".join(lines)
    if event.hint:
        yield "hint", plain(event.hint)
    if event.folder:
        yield "files", near(event.folder)


def failure_text(event: e.Failed, track: BuildState | None = None) -> str:
    """Return an error as plain text, its parts below each other."""
    (_, what), *rest = failure(event, track)
    build = f"{event.build}: " if event.build else ""
    lines = [f"{'cancelled' if is_cancelled(event) else 'error'}: {build}{indent(what, '  ')}"]
    lines += [f"  {label + ':':<7} {indent(text, ' ' * 10)}" for label, text in rest]
    return "\n".join(lines)


def outcome(track: BuildState) -> str:
    """Say how a build ended, as events and styles name it."""
    return track.outcome or "unfinished"


def word(track: BuildState) -> str:
    """Say how a build ended, as a person reads it."""
    return "up to date" if track.outcome == "cached" else outcome(track)


def times(track: BuildState) -> str:
    """`launch 1.2 s, provision 43 s, others 1.4 s`: phases of under a second are one, where they come to more."""
    phases = track.phases()
    shown = {name: took for name, took in phases.items() if took >= SHORT}
    others = sum(phases.values()) - sum(shown.values())
    shown |= {"others": others} if others >= SHORT else {}
    return ", ".join(f"{name} {duration(took)}" for name, took in shown.items())


def counts(track: BuildState) -> str:
    """`9 of 10 tests passed, 1 skipped`: skipped ones are none of the ten. The same words everywhere."""
    skipped = len(track.of_outcome("skipped"))
    rest = f", {skipped} skipped" if skipped else ""
    return f"{len(track.of_outcome('passed'))} of {len(track.smoke_tests) - skipped} tests passed{rest}"


def took(board: RunState, track: BuildState) -> float:
    """Seconds that a build took, or has taken so far."""
    return track.ended.seconds if track.ended else board.now() - track.began


def artifact(kept: e.ArtifactKept) -> str:
    """`.bakery/images/web.qcow2  412.0 MiB  sha256:1f2e3d4c5b6a  NOT TESTED`."""
    parts = [
        near(kept.id),
        format_size(kept.size) if kept.size else "",
        f"sha256:{kept.sha256[:12]}" if kept.sha256 else "",
    ]
    parts.append(VERDICTS.get(kept.verdict, "").upper())
    return "  ".join(plain(part) for part in parts if part)


def summary(board: RunState) -> Iterator[str]:
    """Yield the closing table as plain lines."""
    width = max((len(name) for name in board.tracks), default=0)
    for track in board.tracks.values():
        head = f"{track.name:<{width}}  {word(track):<10}  {duration(took(board, track)):>7}"
        yield f"{head}  {times(track)}".rstrip()
        if track.artifact:
            yield f"{'':<{width}}  {artifact(track.artifact)}"


def next_steps(board: RunState) -> Iterator[tuple[str, str]]:
    """Yield where to read on, and what to do with an image that was made, as label and text."""
    if not board.folder or all(track.outcome == "cached" for track in board.tracks.values()):
        return
    yield "report", near(str(Path(board.folder) / REPORT))
    made = next((track.artifact for track in board.tracks.values() if track.outcome == "ok" and track.artifact), None)
    if made is not None and board.ended is not None and board.ended.exit_code == 0:
        bake = shlex.join(["bake", *_elsewhere(board.started.command if board.started else "")])
        name = plain(made.call or made.name)
        tests = f"`{plain(bake)} test {name}` tests it, " if made.verdict == "untested" else ""
        yield "next", f"{tests}`{plain(bake)} ssh {name}` opens a shell on a machine of it"


def _elsewhere(command: str) -> Iterator[str]:
    """Yield what a command line says of the project's place, which the next command must say too."""
    words = iter(shlex.split(command))
    for word in words:
        if word in ("-C", "-f", "--directory", "--file"):
            yield from (word, next(words, ""))
        elif word.startswith(("--directory=", "--file=")) or re.match(r"-[Cf].", word):
            yield word
