"""What runs on a channel of an SSH connection: a command until its end, or a shell that is talked to."""

from __future__ import annotations

import contextlib
import time
from typing import IO, TYPE_CHECKING, Final, Protocol

from paramiko.ssh_exception import SSHException

from bakery.machine.transport.arrivals import Arrivals
from bakery.model import Result, Stream
from bakery.util.process import GRACE, PATIENCE, POLL
from bakery.util.results import Lost, TimedOut
from bakery.util.streams import CHUNK, Collected, Feeder

if TYPE_CHECKING:
    from paramiko import Channel

    from bakery.errors import BakeryError
    from bakery.machine.transport.frame import Frame
    from bakery.util.waiting import Cancel

PACKET: Final = CHUNK // 8
BROKEN: Final = (SSHException, EOFError, OSError)
"""What paramiko raises when the connection ends."""
STARTS: Final = 10.0
"""Seconds that a login shell has to come to our command, before it is asked what keeps it."""


class Connection(Protocol):
    """What a channel's program asks of its connection."""

    def answers(self) -> bool:
        """Say whether the connection lives."""
        ...

    def end(self, running: Running) -> None:
        """End the remote process group of a command."""

    def obstacle(self, frame: Frame, exited: int | None) -> BakeryError:
        """Say why our shell did not answer."""
        ...

    def prove(self) -> None:
        """Raise when no shell of ours runs on the machine."""


class StartWatch:
    """Waits for our shell's answer, and finds out why it does not come.

    Args:
        connection: whose channel it is.
        frame: of the line that was sent.
    """

    def __init__(self, connection: Connection, frame: Frame) -> None:
        self._connection = connection
        self._frame = frame
        self._limit: float | None = None

    def check(self, waited: float) -> None:
        """Look after a line that was sent some seconds ago.

        A machine may be slow; so another line is sent, whose input is at its end. When that is answered, and this
        one is not, then something reads this one's input.

        Raises:
            ConnectError: another program took the line.
            Lost: the connection ended.
        """
        if self._frame.flooded or (self._limit is not None and waited > self._limit):
            raise self._connection.obstacle(self._frame, None)
        if waited > STARTS and self._limit is None:
            started = time.monotonic()
            self._connection.prove()
            self._limit = waited + time.monotonic() - started + STARTS


class Running:
    """A command on its channel.

    Args:
        connection: the channel's.
        channel: on which the frame's line was sent.
        frame: tells our shell's word from everybody else's.
        collected: takes what the command says.
        cancel: ends the wait.
        watched: False for a command that is to find out itself whether our shell runs.
    """

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        frame: Frame,
        collected: Collected,
        cancel: Cancel,
        *,
        watched: bool = True,
    ) -> None:
        self.frame = frame
        self._watch = StartWatch(connection, frame) if watched else None
        self._connection = connection
        self._channel = channel
        self._arrivals = Arrivals(channel)
        self._collected = collected
        self._cancel = cancel
        self._source: bytes | IO[bytes] = b""
        self._feeder: Feeder | None = None

    def feed(self, source: bytes | IO[bytes] | None) -> None:
        """Give it its input, once our shell has answered; none at once, which nobody can mistake for commands."""
        if source is None:
            with contextlib.suppress(*BROKEN):
                self._channel.shutdown_write()
            return
        self._source = source
        channel = self._channel
        self._feeder = Feeder(source, lambda data: send(channel, data), channel.shutdown_write, BROKEN)

    def wait(self, timeout: float | None) -> Result:
        """Hand on what comes until the command ends.

        Raises:
            TimedOut: it was ended after so many seconds.
            ConnectError: our shell did not run it.
            Lost: the connection ended.
        """
        while not self._ended():
            self._cancel.check()
            if self._feeder is not None:
                self._feeder.check()
            if timeout is not None and self._collected.seconds > timeout:
                self._connection.end(self)
                raise TimedOut(self._collected.result(-1))
            if self._watch is not None and not self.frame.proven:
                self._watch.check(self._collected.seconds)
            self._sleep(POLL)
        self._read()
        if self._feeder is not None:
            self._feeder.check()
        return self._collected.result(self._exit_code())

    def drain(self, seconds: float) -> bool:
        """Hand on what comes for so long; True when the command has ended."""
        deadline = time.monotonic() + seconds
        while not self._ended():
            if time.monotonic() > deadline:
                return False
            self._sleep(POLL)
        self._read()
        return True

    def begun(self, seconds: float) -> bool:
        """Wait so long for our shell's answer; True when it came."""
        deadline = time.monotonic() + seconds
        while self.frame.pid is None and time.monotonic() < deadline and not self._ended():
            self._sleep(POLL)
        return self.frame.pid is not None

    def _ended(self) -> bool:
        """Say whether all output is there; a program left in the background may keep the streams open after the end."""
        came = self._read()
        channel = self._channel
        if channel.closed or (channel.eof_received and channel.exit_status_ready()):
            return True
        if not channel.exit_status_ready() or came:
            return False
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and not (channel.eof_received or channel.closed):
            if self._read():
                deadline = time.monotonic() + GRACE
            self._sleep(GRACE / 20)
        return True

    def _sleep(self, seconds: float) -> None:
        """Wait until something comes; after the end of the streams that is the exit code alone."""
        if self._channel.eof_received:
            self._channel.status_event.wait(seconds)
        else:
            self._arrivals.wait(seconds)

    def _read(self) -> bool:
        """Take all that is there, and begin to feed once our shell has answered."""
        came = False
        while self._channel.recv_stderr_ready() and (data := self._channel.recv_stderr(CHUNK)):
            came = True
            self._take("stderr", data)
        while self._channel.recv_ready() and (data := self._channel.recv(CHUNK)):
            came = True
            self._take("stdout", data)
        return came

    def _take(self, stream: Stream, data: bytes) -> None:
        waits = not self._collected.begun
        self._collected.take(stream, data)
        if waits and self._collected.begun and self._feeder is not None:
            if isinstance(self._source, bytes) and len(self._source) <= self._channel.out_window_size:
                self._feeder.feed()  # the channel takes it at once
            else:
                self._feeder.start()

    def _exit_code(self) -> int:
        """Return the exit code that our shell told. It told none: the connection died, or somebody killed it.

        Raises:
            Lost: the connection ended.
            ConnectError: it never ran.
        """
        code: int = self._channel.exit_status
        if self.frame.proven and self.frame.exited is not None:
            return self.frame.exited
        if code < 0 and not self._connection.answers():
            raise Lost("the connection ended under the command")
        if not self.frame.proven:
            raise self._connection.obstacle(self.frame, 137 if code < 0 else code)
        return code if code > 0 else 137


def send(channel: Channel, data: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: the channel is closed.
    """
    view = memoryview(data)
    while view:
        sent = channel.send(bytes(view[:PACKET]))
        if not sent:
            raise OSError("the channel is closed")
        view = view[sent:]


class ShellChannel:
    """A shell of ours on a channel.

    Args:
        connection: the channel's.
        channel: on which the frame's line was sent.
        frame: of the kind `shell`.
        cancel: ends the wait.
        timeout: seconds until our shell must have answered.

    Raises:
        ConnectError: another program took its place.
        Lost: the connection ended.
    """

    def __init__(self, connection: Connection, channel: Channel, frame: Frame, cancel: Cancel, timeout: float) -> None:
        self._connection = connection
        self._channel = channel
        self._arrivals = Arrivals(channel)
        self._frame = frame
        self._first: list[tuple[Stream, bytes]] = []
        self.pid = self._begin(cancel, timeout)

    def send(self, data: bytes) -> None:
        """Write to its standard input; see `Shell`."""
        try:
            send(self._channel, data)
        except BROKEN as error:
            raise Lost("the shell has ended") from error

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        """Return what it wrote; see `Shell`."""
        if self._first:
            first, self._first = self._first, []
            return first
        return [(stream, data) for stream, data in self._chunks(timeout) if data]

    def close(self) -> None:
        """Be done with it."""
        self._channel.close()

    def _begin(self, cancel: Cancel, timeout: float) -> int:
        started = time.monotonic()
        watch = StartWatch(self._connection, self._frame)
        try:
            while not self._frame.proven:
                cancel.check()
                self._first += self._chunks(POLL)
                waited = time.monotonic() - started
                watch.check(waited)
                if waited > timeout:
                    raise self._connection.obstacle(self._frame, None)
        except Lost:
            if not self._connection.answers():
                raise
            self._channel.status_event.wait(PATIENCE)
            raise self._connection.obstacle(self._frame, self._channel.exit_status) from None
        self._first = [(stream, data) for stream, data in self._first if data]
        return self._frame.pid or 0

    def _chunks(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        """Return what is there, and wait only where nothing is, and something may still come."""
        ended = self._ended()  # asked first: what came before the end is there then
        chunks = self._there()
        if not chunks and not ended:
            self._arrivals.wait(timeout)
            ended = self._ended()
            chunks = self._there()
        if not chunks and ended:
            raise Lost("the shell on the machine has ended")
        return [(stream, self._frame.take(stream, data)) for stream, data in chunks]

    def _ended(self) -> bool:
        return bool(self._channel.closed or self._channel.eof_received)

    def _there(self) -> list[tuple[Stream, bytes]]:
        chunks: list[tuple[Stream, bytes]] = []
        if self._channel.recv_ready():
            chunks.append(("stdout", self._channel.recv(CHUNK)))
        if self._channel.recv_stderr_ready():
            chunks.append(("stderr", self._channel.recv_stderr(CHUNK)))
        return chunks
