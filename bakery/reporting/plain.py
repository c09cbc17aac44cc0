"""The plain reporter: for everything that is not a terminal. One line an event, with time and build."""

from __future__ import annotations

from datetime import datetime
from typing import IO

from bakery import events as e
from bakery.reporting.lines import Verbosity, describe_event
from bakery.reporting.run_state import RunState
from bakery.reporting.summary import failure_text, summary


class Log:
    """Writes `12:01:22 [web@laptop] task 2/5 nginx: ok (39 s)`: no colour, nothing redrawn.

    Args:
        stream: where to; standard error for `bake`.
        verbosity: quiet, normal or verbose.
    """

    def __init__(self, stream: IO[str], verbosity: Verbosity = "normal") -> None:
        self._stream = stream
        self._verbosity: Verbosity = verbosity
        self.board = RunState()

    def read(self, event: e.Event) -> None:
        """Write what the event is worth."""
        self.board.read(event)
        for line in describe_event(event, self.board, self._verbosity, starts=True):
            self.write(str(line), event.time, line.build)
        if isinstance(event, e.Failed):
            shown = self._verbosity == "verbose"  # then its output stands above already
            self.write(failure_text(event, None if shown else self.board.tracks.get(event.build)), event.time)
        if isinstance(event, e.RunEnded) and self._verbosity != "quiet" and self.board.tracks:
            self._stream.write("\n" + "".join(f"{line}\n" for line in summary(self.board)))
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is written when it comes."""

    def write(self, text: str, at: float, build: str = "") -> None:
        """Write one entry; its further lines are indented already."""
        clock = datetime.fromtimestamp(at).astimezone()
        self._stream.write(f"{clock:%H:%M:%S} {f'[{build}] ' if build else ''}{text}\n")
