"""Running a program on this host: streamed output and input, and an end that reaches its whole process group."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Protocol, cast

from bakery.model import Result, Stream
from bakery.util.results import OnOutput, TimedOut
from bakery.util.waiting import Cancel

CHUNK: Final = 8 * 32_704
"""Bytes read at once: whole SSH packets, 32 KiB less the head that paramiko allows for."""
POLL: Final = 0.1
"""Seconds between two looks at the cancel token."""
PATIENCE: Final = 3.0
"""Seconds that a process group has between SIGTERM and SIGKILL."""
GRACE: Final = 1.0
"""Seconds to wait for more output of a program that has ended: something that it started may hold its pipes open."""


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


def chunks(source: bytes | IO[bytes]) -> Iterator[bytes]:
    """Read bytes or a file in pieces."""
    if isinstance(source, bytes):
        if source:
            yield source
        return
    while data := source.read(CHUNK):
        yield data


def run_process(
    argv: Sequence[str],
    *,
    cancel: Cancel,
    command: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: bytes | IO[bytes] | None = None,  # noqa: A002  subprocess's own word
    timeout: float | None = None,
    on_output: OnOutput | None = None,
    collect: bool = True,
    umask: int = -1,
    frame: OutputFrame | None = None,
) -> Result:
    """Run a program in a process group of its own and wait for its end.

    Args:
        argv: program and arguments.
        cancel: ends the group and the wait.
        command: what the result calls it; the arguments when empty.
        env: its whole environment; ours when None.
        cwd: where it runs.
        input: bytes, or a file to stream.
        timeout: seconds.
        on_output: called with each chunk, from this thread.
        collect: False leaves the result's `stdout` empty.
        umask: its umask; ours when -1.
        frame: of the command, where `argv` has one: the input waits for its proof, and its exit code counts.

    Raises:
        TimedOut: the group was ended after `timeout`.
        Interrupted: it was ended because the run is cancelled.
        OSError: the program cannot be started.
    """
    collected = Collected(command or " ".join(argv), on_output, keep=collect, frame=frame)
    process = subprocess.Popen(  # no context manager: that would wait for the end of one that cannot end
        list(argv),
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
        umask=umask,
    )
    feeder = None
    if input is not None and process.stdin is not None:
        feeder = Feeder(input, process.stdin.write, process.stdin.close, (BrokenPipeError, ValueError))
        if collected.begun:
            feeder.start()
    try:
        _pump(process, feeder, collected, cancel, timeout)
    except BaseException:
        end_group(process)
        raise
    finally:
        _close_pipes(process)
        if feeder is not None:
            feeder.join(GRACE)
    if feeder is not None:
        feeder.check()
    code = process.returncode
    return collected.result(128 - code if code < 0 else code)


def ready(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    """Wait until something can be read, or has ended; `poll` has no limit on descriptors, which `select` has."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1000)]


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: SIGTERM, then SIGKILL for what is still there.

    One that the kernel cannot end, because it waits for a disk, is left to itself.
    """
    with contextlib.suppress(ProcessLookupError):  # the whole group is gone already, which is what we want
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


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
        source: bytes | IO[bytes],
        write: Callable[[bytes], object],
        close: Callable[[], object],
        broken: tuple[type[BaseException], ...],
    ) -> None:
        self._source = source
        self._write = write
        self._close = close
        self._broken = broken
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self.feed, name="bakery-input", daemon=True)

    def start(self) -> None:
        """Begin, in the background; safe to call twice."""
        if self._thread.ident is None:
            self._thread.start()

    def feed(self) -> None:
        """Write all of it, here and now."""
        try:
            self._all()
        except Exception as error:  # of the source: raised in the thread that waits for the command
            self._error = error

    def check(self) -> None:
        """Raise what went wrong with the source."""
        if self._error is not None:
            raise self._error

    def join(self, seconds: float) -> None:
        """Wait for its end, for so long."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _all(self) -> None:
        try:
            for data in chunks(self._source):
                try:
                    self._write(data)
                except self._broken:
                    return
        finally:
            with contextlib.suppress(*self._broken):
                self._close()


def _pump(
    process: subprocess.Popen[bytes], feeder: Feeder | None, collected: Collected, cancel: Cancel, timeout: float | None
) -> None:
    """Read both streams until they end, or until the program has ended and nothing more comes."""
    streams: dict[int, Stream] = {
        cast("IO[bytes]", process.stdout).fileno(): "stdout",
        cast("IO[bytes]", process.stderr).fileno(): "stderr",
    }
    silent_since = time.monotonic()
    while streams or process.poll() is None:
        cancel.check()
        if feeder is not None:
            feeder.check()
        if timeout is not None and collected.seconds > timeout:
            end_group(process)
            raise TimedOut(collected.result(-1))
        if not streams:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
            continue
        came = ready(streams, POLL)
        for fd in came:
            silent_since = time.monotonic()
            if data := os.read(fd, CHUNK):
                collected.take(streams[fd], data)
                if feeder is not None and collected.begun:
                    feeder.start()
            else:
                del streams[fd]
        if process.poll() is not None and not came and time.monotonic() - silent_since > GRACE:
            return


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
