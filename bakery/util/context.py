"""What code that makes files is handed: the cache, the way to be cancelled, and the way to say what goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from bakery.events import Event


@dataclass(frozen=True, kw_only=True)
class WorkContext:
    """What code that makes files needs: where the cache is, how to be cancelled, how to say what goes on.

    Args:
        cache: the shared cache folder.
        cancel: ends every wait.
        emit: takes events.
        offline: True where nothing may be downloaded.
        build: the build's name, for events.
        redact: takes secrets out of a text, for what is written to files past the event stream.
    """

    cache: Path
    cancel: Cancel = field(default_factory=Cancel)
    emit: Callable[[Event], None] = lambda _: None
    offline: bool = False
    build: str = ""
    redact: Callable[[str], str] = str

    def waiting(self, what: str, seconds: float = 0.0) -> None:
        """Say what is being waited for; has the shape of `until(notify=...)`."""
        from bakery.events import Waiting  # reading an imagefile needs none

        self.emit(Waiting(build=self.build, what=what, seconds=seconds))

    def progress(self, what: str, done: float, total: float = 0.0, unit: str = "B") -> None:
        """Say how far something is."""
        from bakery.events import Progress  # reading an imagefile needs none

        self.emit(Progress(build=self.build, what=what, done=done, total=total, unit=unit))

    def notice(self, message: str, *, hint: str = "", warning: bool = False) -> None:
        """Tell the user something that stops nothing."""
        from bakery.events import Notice  # reading an imagefile needs none

        self.emit(Notice(build=self.build, level="warning" if warning else "info", message=message, hint=hint))

    def output(self, text: str, stream: str = "stdout") -> None:
        """Hand on what a tool wrote, in whole lines."""
        from bakery.events import Output  # reading an imagefile needs none

        self.emit(Output(build=self.build, text=text, stream=stream))
