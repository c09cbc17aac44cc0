"""Reporters that write one file when the run is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bakery import events as e
from bakery.reporting.run_state import RunState
from bakery.state.ownership import hand_over
from bakery.util.files import write_whole


class FileReporter(ABC):
    """Keeps account of a run, and writes it down at its end.

    Args:
        path: where to; None for the page's own name in the run's folder.
    """

    file: ClassVar[str]
    """Its name there."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.failure: OSError | None = None
        self.board = RunState()

    @property
    def label(self) -> str:
        """What it is called where it cannot be written."""
        return str(self._path or self.file)

    @property
    def owed(self) -> bool:
        """True where the user asked for this very file, and it could not be written."""
        return self._path is not None and self.failure is not None

    def read(self, event: e.Event) -> None:
        """Take it in."""
        self.board.read(event)

    def close(self) -> None:
        """Write the file; nothing where no run has begun."""
        path = self._path or (Path(self.board.folder) / self.file if self.board.folder else None)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.content())
            hand_over([path], path.parent)
        except OSError as error:
            self.failure = error
            raise

    @abstractmethod
    def content(self) -> bytes:
        """Return the whole file."""
