"""Events as JSON Lines: for programs. The same objects on standard output and in the run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from bakery import events as e

FILE = "events.jsonl"


class JsonLines:
    """Writes every event as one line of JSON, at once.

    Args:
        stream: where to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def read(self, event: e.Event) -> None:
        """Write an event as a line."""
        self._stream.write(line(event))
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is written when it comes."""


class JsonFile:
    """Writes `events.jsonl` into the folder that `RunStarted` names; what came before it goes first."""

    label = FILE

    def __init__(self) -> None:
        self._early: list[str] = []
        self._file: IO[str] | None = None

    def read(self, event: e.Event) -> None:
        """Write it, or remember it until there is a folder."""
        if self._file is None and isinstance(event, e.RunStarted) and event.folder:
            self._file = (Path(event.folder) / FILE).open("a", encoding="utf-8", errors="backslashreplace")
            self._file.writelines(self._early)
            self._early.clear()
        if self._file is None:
            self._early.append(line(event))
        else:
            self._file.write(line(event))
            self._file.flush()  # whoever looks after a crash finds all but the last event

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def line(event: e.Event) -> str:
    """Return an event as one line."""
    return json.dumps(event.to_json(), ensure_ascii=True, separators=(",", ":")) + "\n"
