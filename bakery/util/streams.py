"""What goes into a command and comes out of it, on this host or a machine: fed by a thread, taken as it comes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import IO, Final, Protocol, TypeAlias

from bakery.model import Result, Stream
from bakery.util.results import OnOutput

Source: TypeAlias = "bytes | IO[bytes] | Generator[bytes]"
"""What a program reads: bytes, a file to stream, or pieces made while it reads."""
CHUNK: Final = 8 * 32_704
"""Bytes read at once: whole SSH packets, 32 KiB less the head that paramiko allows for."""


class OutputFrame(Protocol):
    """What tells a command's own words from those of others around it."""

    @property
    def proven(self) -> bool:
        """True once the command itself has answered."""
        ...

    @property
    def exited(self) -> int | None:
        """The command's exit code, where it was told."""
        ...

    def take(self, stream: Stream, data: bytes) -> bytes:
        """Take a chunk, and return what of it is the command's own."""
        ...

    def rest(self) -> bytes:
        """Return what was held back of standard error, at its end."""
        ...


class OutputTaker(Protocol):
    """What becomes of a program's output."""

    @property
    def begun(self) -> bool:
        """True once the program may be given its input."""
        ...

    def take(self, stream: Stream, data: bytes) -> None:
        """Take a chunk; what it raises ends the program."""
        ...


class Collected:
    """The two streams of a command, handed on as they come and kept for its result.

    Args:
        command: what the result calls it.
        on_output: gets each chunk.
        keep: False leaves the result's `stdout` empty.
        frame: takes what is not the command's own out of the streams, and knows its exit code.
    """

    def __init__(
        self, command: str, on_output: OnOutput | None, *, keep: bool, frame: OutputFrame | None = None
    ) -> None:
        self._frame = frame
        self._command = command
        self._on_output = on_output
        self._keep = keep
        self._chunks: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}
        self._started = time.monotonic()

    def take(self, stream: Stream, data: bytes) -> None:
        """Keep a chunk and hand it on."""
        data = data if self._frame is None else self._frame.take(stream, data)
        if not data:
            return
        if self._keep or stream == "stderr":
            self._chunks[stream].append(data)
        if self._on_output is not None:
            self._on_output(stream, data)

    @property
    def begun(self) -> bool:
        """True once the command's own shell has answered; from the start where it has no frame."""
        return self._frame is None or self._frame.proven

    @property
    def seconds(self) -> float:
        """Seconds since the command started."""
        return time.monotonic() - self._started

    def result(self, exited: int) -> Result:
        """Return what the command left behind."""
        if self._frame is not None:
            self._chunks["stderr"].append(self._frame.rest())
            exited = exited if self._frame.exited is None or exited < 0 else self._frame.exited
        out, err = (b"".join(self._chunks[name]).decode(errors="replace") for name in ("stdout", "stderr"))
        return Result(command=self._command, exited=exited, stdout=out, stderr=err, seconds=self.seconds)


def chunks(source: Source) -> Iterator[bytes]:
    """Read bytes or a file in pieces."""
    if isinstance(source, bytes):
        if source:
            yield source
        return
    if isinstance(source, Generator):
        yield from source
        return
    while data := source.read(CHUNK):
        yield data


class Feeder:
    """Writes a command's input from a thread, so that a command that answers before it has read all cannot block us.

    Args:
        source: what to write.
        write: writes a chunk.
        close: ends the input.
        broken: what these two raise when the command has ended without reading all, like `head -1`. That is no
            error: its exit code tells whether it was right.
    """

    def __init__(
        self,
        source: Source,
        write: Callable[[bytes], object],
        close: Callable[[], object],
        broken: tuple[type[BaseException], ...],
    ) -> None:
        self._source = source
        self._write = write
        self._close = close
        self._broken = broken
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self.feed, name="bakery-input", daemon=True)

    def start(self) -> None:
        """Begin, in the background; safe to call twice."""
        if self._thread.ident is None:
            self._thread.start()

    def feed(self) -> None:
        """Write all of it, here and now."""
        try:
            self._all()
        except BaseException as error:  # of the source, `sys.exit()` too: raised in the thread that waits
            self._error = error
        finally:  # once the error is noted: a command that sees its input's end may succeed at once
            with contextlib.suppress(*self._broken):
                self._close()

    def check(self) -> None:
        """Raise what went wrong with the source."""
        if self._error is not None:
            raise self._error

    def join(self, seconds: float) -> None:
        """Wait for its end, for so long."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _all(self) -> None:
        for data in chunks(self._source):
            try:
                self._write(data)
            except self._broken:
                return
