"""GitHub Actions: the plain log with a fold for each step, annotations at the user's lines, a summary of the job.

Workflow commands: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import IO

from bakery import events as e
from bakery.reporting.formatting import duration, plain
from bakery.reporting.lines import Verbosity
from bakery.reporting.plain import Log
from bakery.reporting.run_state import BuildState, RunState, Span
from bakery.reporting.summary import artifact, failure_text, times, took, word

_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)


class GitHub(Log):
    """The plain log, and what GitHub makes of it.

    Args:
        stream: where to.
        verbosity: as for the plain log.
        summary: the file that `GITHUB_STEP_SUMMARY` names; None where there is none.
        root: the workspace; annotations need paths relative to it.
    """

    def __init__(
        self, stream: IO[str], verbosity: Verbosity = "normal", *, summary: Path | None = None, root: Path | None = None
    ) -> None:
        super().__init__(stream, verbosity)
        self._summary = summary
        self._root = root

    def read(self, event: e.Event) -> None:
        """Log it; fold and annotate."""
        track = self.board.tracks.get(event.build)
        ending = track.current if track and isinstance(event, e.StepEnded | e.PhaseEnded) else None
        super().read(event)
        if track and ending and ending.lines:
            self._fold(track, ending)
        match event:
            case e.Failed():
                self._annotate("error", event.location, event.error, failure_text(event))
            case e.TestEnded() if event.outcome in ("failed", "error"):
                self._annotate("error", event.location, f"{event.build}: {event.test}", event.text)
            case e.Notice() if event.level == "warning":
                self._annotate("warning", "", event.build or "bake", f"{event.message}\n{event.hint}".strip())
            case _:
                pass
        self._stream.flush()

    def write(self, text: str, at: float, build: str = "") -> None:
        """Write one entry in which no line is a command, however it is indented."""
        super().write(_COMMAND.sub(r"\1: :", text).replace("##[", "# #["), at, build)

    def close(self) -> None:
        """Append the closing table to the job's summary."""
        if self._summary is not None and self.board.tracks:
            with self._summary.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(markdown(self.board))

    def _fold(self, track: BuildState, bar: Span) -> None:
        """Write a step's output folded; nothing in it can be taken for a command."""
        token = secrets.token_hex(16)
        title = plain(f"[{track.name}] output of {bar.name}")
        lines = [f"::group::{_data(title)}", f"::stop-commands::{token}", *map(plain, bar.lines)]
        self._stream.write("\n".join([*lines, f"::{token}::", "::endgroup::", ""]))

    def _annotate(self, level: str, location: str, title: str, text: str) -> None:
        file, _, line = location.rpartition(":")
        where = [f"file={_property(self._relative(file))}", f"line={line}"] if line.isdigit() else []
        properties = ",".join([*where, f"title={_property(plain(title))}"])
        self._stream.write(f"::{level} {properties}::{_data(plain(text))}\n")

    def _relative(self, file: str) -> str:
        path = Path.cwd() / file
        return str(path.relative_to(self._root)) if self._root and path.is_relative_to(self._root) else file


def markdown(board: RunState) -> str:
    """Return the closing table for people who read it in a browser."""
    rows = ["| build | | time | phases | image |", "|---|---|--:|---|---|"]
    for track in board.tracks.values():
        kept = artifact(track.artifact) if track.artifact else ""
        cells = (track.name, word(track), duration(took(board, track)), times(track), kept)
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    for failed in board.all_failures():
        rows += ["", "```text", failure_text(failed).replace("```", "'''"), "```"]
    return "\n".join(["### bake", "", *rows, "", ""])


def _cell(text: str) -> str:
    for char in "\\`*_[]<>|":
        text = text.replace(char, f"\\{char}")
    return text


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
