"""GitHub Actions: the plain log with a fold for each step, annotations at the user's lines, a summary, outputs.

Workflow commands: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import IO

from bakery import events as e
from bakery.reporting.formatting import duration, plain
from bakery.reporting.lines import Verbosity
from bakery.reporting.plain import Log
from bakery.reporting.run_state import BuildState, RunState, Span, is_cancelled
from bakery.reporting.summary import REPORT, artifact, counts, failure_text, times, took, word

_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)


class GitHub(Log):
    """The plain log, and what GitHub makes of it.

    Args:
        stream: where to.
        verbosity: as for the plain log.
        summary: the file that `GITHUB_STEP_SUMMARY` names; None where there is none.
        output: the file that `GITHUB_OUTPUT` names; None where there is none.
        root: the workspace; annotations need paths relative to it.
        live: as for the plain log.
    """

    def __init__(
        self,
        stream: IO[str],
        verbosity: Verbosity = "normal",
        *,
        summary: Path | None = None,
        output: Path | None = None,
        root: Path | None = None,
        live: bool = False,
    ) -> None:
        super().__init__(stream, verbosity, live=live)
        self._summary = summary
        self._output = output
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
                level = "warning" if is_cancelled(event) else "error"
                self._annotate(level, event.location, event.error, failure_text(event))
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
        """Append the closing table to the job's summary, and what was made to the step's outputs."""
        super().close()
        if self.board.tracks:
            _append(self._summary, markdown(self.board))
            _append(self._output, outputs(self.board))

    def _fold(self, track: BuildState, bar: Span) -> None:
        """Write a step's output folded; nothing in it can be taken for a command."""
        token = secrets.token_hex(16)
        title = plain(f"[{track.name}] output of {bar.name}")
        lines = [f"::group::{_data(title)}", f"::stop-commands::{token}", *map(plain, bar.lines)]
        self._stream.write("\n".join([*lines, f"::{token}::", "::endgroup::", ""]))

    def _annotate(self, level: str, location: str, title: str, text: str) -> None:
        self._stream.write(f"{annotation(level, location, title, text, self._root)}\n")


def annotation(level: str, location: str, title: str, text: str, root: Path | None = None) -> str:
    """Return the command with which GitHub shows a text at a line of the user's.

    Args:
        level: `error`, `warning` or `notice`.
        location: `imagefile.py:12`, from the current folder; anything else is no place.
        title: one line.
        text: any number of them.
        root: the workspace, which GitHub's paths are relative to.
    """
    file, _, line = location.rpartition(":")
    where = [f"file={_property(_relative(file, root))}", f"line={line}"] if line.isdigit() else []
    properties = ",".join([*where, f"title={_property(plain(title))}"])
    return f"::{level} {properties}::{_data(plain(text))}"


def _relative(file: str, root: Path | None) -> str:
    path = Path.cwd() / file
    return str(path.relative_to(root)) if root and path.is_relative_to(root) else file


def _append(path: Path | None, text: str) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def outputs(board: RunState) -> str:
    """Return what later steps of the job may ask for: `images`, JSON of all; of a single one `id`, `name`, `sha256`."""
    images = [
        {"build": track.name, "name": made.name, "id": made.id, "sha256": made.sha256, "tests": made.verdict}
        for track in board.tracks.values()
        if (made := track.artifact) is not None
    ]
    values = {"images": json.dumps(images), "run": board.run, "report": str(Path(board.folder) / REPORT)}
    if len(images) == 1:
        values |= {name: images[0][name] for name in ("id", "name", "sha256")}
    return "".join(_output(name, plain(text)) for name, text in values.items())


def _output(name: str, text: str) -> str:
    """Return an output in GitHub's form for texts of any number of lines; no text can end it."""
    end = f"end-{secrets.token_hex(16)}"
    return f"{name}<<{end}\n{text}\n{end}\n"


def markdown(board: RunState) -> str:
    """Return the closing table for people who read it in a browser."""
    rows = ["| build | | time | phases | tests | image |", "|---|---|--:|---|---|---|"]
    for track in board.tracks.values():
        kept = artifact(track.artifact) if track.artifact else ""
        tests = counts(track) if track.smoke_tests else ""
        cells = (track.name, word(track), duration(took(board, track)), times(track), tests, kept)
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
