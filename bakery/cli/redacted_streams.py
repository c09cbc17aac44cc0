"""What imagefiles print while a run goes on: redacted, on standard error, above the live lines."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO

from bakery.cli.reporters import is_terminal
from bakery.redaction.redactor import LineBuffer, Redactor
from bakery.reporting.bus import Reporter


class Prints(io.TextIOBase):
    """A text stream that hands on whole, redacted lines. One buffer for each thread: builds print at the same time.

    Args:
        redact: what knows the secrets.
        to: the real stream.
        shown: the reporter on the same screen.
    """

    def __init__(self, redact: Redactor, to: IO[str], shown: Reporter) -> None:
        self._redact = redact
        self._to = to
        self._shown = shown
        self._local = threading.local()
        self._buffers: list[LineBuffer] = []

    def write(self, text: str, /) -> int:
        """Take a part; show what has become whole."""
        buffer = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = LineBuffer(self._redact)
            self._buffers.append(buffer)
        self._show(buffer.feed(text))
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def finish(self) -> None:
        """Show what never got its line end."""
        for buffer in self._buffers:
            rest = buffer.flush()
            self._show(rest if not rest or rest.endswith("\n") else f"{rest}\n")

    def _show(self, text: str) -> None:
        if not text:
            return
        if is_terminal(self._shown):
            self._shown.say(text.rstrip("\n"))
        else:
            self._to.write(text)
            self._to.flush()


@contextmanager
def captured(redact: Redactor, shown: Reporter) -> Generator[None]:
    """Send what this process prints through the redactor to standard error; results are printed afterwards."""
    prints = Prints(redact, sys.stderr, shown)
    try:
        with redirect_stdout(prints), redirect_stderr(prints):
            yield
    finally:
        prints.finish()
