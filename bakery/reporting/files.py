"""Reporters that write one file when the run is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bakery import events as e
from bakery.reporting.run_state import RunState
from bakery.state.project import write_whole


class FileReporter(ABC):
    """Keeps account of a run, and writes it down at its end.

    Args:
        path: where to; None for the page's own name in the run's folder.
    """

    file: ClassVar[str]
    """Its name there."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.board = RunState()

    def read(self, event: e.Event) -> None:
        """Take it in."""
        self.board.read(event)

    def close(self) -> None:
        """Write the file; nothing where no run has begun."""
        path = self._path or (Path(self.board.folder) / self.file if self.board.folder else None)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.content())

    @abstractmethod
    def content(self) -> bytes:
        """Return the whole file."""
