"""Standard input, output and error as they really are: closed, on a full disk, or a pipe that nobody reads any more.

What becomes of an image, and the exit code that says it, must not depend on whether somebody listens. So nothing that
is written here raises. What was lost is known afterwards: of standard error, which tells of progress, nothing is said;
a reader of the results that went away (`bake list | head -1`) has seen what it wanted; but results that could not be
written for any other reason are an error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, cast

FAULTS = (OSError, ValueError)
"""What writing can raise; ValueError where somebody has closed the stream."""


class Stream:
    """A text stream whose writer never hears of a failure.

    Args:
        stream: the real one.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.failure: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        """Be the real stream in all other respects."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or lose it."""
        try:
            self._stream.write(text)
        except FAULTS as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write, or lose them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Bring what was written on its way, or lose it."""
        try:
            self._stream.flush()
        except FAULTS as error:
            self._lose(error)

    def _lose(self, error: BaseException) -> None:
        """Remember the first failure, and send what is still buffered nowhere: Python flushes once more at its end."""
        self.failure = self.failure or error
        with suppress(*FAULTS):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@dataclass(frozen=True)
class Streams:
    """The streams of one command."""

    out: Stream
    err: Stream

    def install(self) -> None:
        """Put them in place of this process's; the user's code may have put its own there since."""
        sys.stdout, sys.stderr = cast("Any", self.out), cast("Any", self.err)

    @property
    def lost(self) -> BaseException | None:
        """Why results could not be written; None where they were, or where their reader went away."""
        failure = self.out.failure
        return None if isinstance(failure, BrokenPipeError) else failure


@contextmanager
def guarded() -> Generator[Streams]:
    """Put streams that never fail in place of this process's; closed ones lead nowhere."""
    _open_missing()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file's name need not be text: it goes out as it is
    before = sys.stdout, sys.stderr
    streams = Streams(Stream(sys.stdout), Stream(sys.stderr))
    streams.install()
    try:
        yield streams
    finally:
        streams.out.flush()
        streams.err.flush()
        sys.stdout, sys.stderr = before


def _open_missing() -> None:
    """Open what was closed when we were started, so that no other file gets its number."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123  as long as the process lives
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  the same
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  the same
