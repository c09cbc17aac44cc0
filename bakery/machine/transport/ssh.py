"""SSH: commands on channels of one connection, streamed both ways, with a timeout that ends the remote side."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import IO, TYPE_CHECKING, Final

from paramiko.ssh_exception import SSHException

from bakery.errors import ConnectError
from bakery.machine.transport.banner import SILENCE
from bakery.machine.transport.base import ShellProgram, Transport
from bakery.machine.transport.connect import TALK, connect, session_of
from bakery.machine.transport.remote_shell import LEFTOVERS, PROBE, end_line, framed, read_pid
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Result
from bakery.util.process import CHUNK, GRACE, PATIENCE, POLL, Collected, Feeder, ready
from bakery.util.results import Lost, OnOutput, TimedOut
from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection
    from paramiko import Channel

PACKET: Final = CHUNK // 8
BROKEN: Final = (SSHException, EOFError, OSError)
"""What paramiko raises when the connection ends."""


class SshTransport(Transport):
    """One open SSH connection.

    Args:
        endpoint: where to, with the pinned host key.
        private_key: what we log in with.
        cancel: ends commands.
        timeout: seconds for each stage of connecting, at least `TALK` for those that follow a server's first word.
        watch: called while whoever accepts the connection says nothing; see `knock`.

    Raises:
        NotReached: with the stage that failed.
        ConnectError: the endpoint has no host key, or the login shell is none that we can use.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        private_key: str,
        cancel: Cancel,
        timeout: float = 15.0,
        watch: Callable[[], object] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._cancel = cancel
        self._connection: Connection = connect(endpoint, private_key, timeout, watch)
        self._closed = threading.Event()
        self._session = session_of(self._connection)
        self._own_session = ""
        threading.Thread(target=self._pulse, name="bakery-pulse", daemon=True).start()
        try:
            self._greet(max(TALK, timeout))
        except BaseException:
            self.close()
            raise

    @property
    def user(self) -> str:
        """The login user."""
        return self._endpoint.user

    @property
    def alive(self) -> bool:
        """False once the connection is known to be gone."""
        return not self._closed.is_set() and bool(self._session.is_active())

    def run(
        self,
        command: str,
        *,
        input: bytes | IO[bytes] | None = None,  # noqa: A002  as in the base class
        timeout: float | None = None,
        on_output: OnOutput | None = None,
        collect: bool = True,
    ) -> Result:
        """Run a command line; see the base class."""
        collected = Collected(command, on_output, keep=collect)
        with contextlib.closing(self._channel(framed(command, self._own_session))) as channel:
            running = _Running(self, channel, collected, self._cancel)
            running.feed(input)
            try:
                return running.wait(timeout)
            except (TimedOut, Lost):
                raise
            except BaseException:
                with self._cancel, contextlib.suppress(Lost):  # the run is cancelled: the reason is on its way up
                    self.end(running)
                raise

    def open_shell(self, command: str = "sh") -> ShellProgram:
        """Start a program to talk to; see the base class."""
        return _SshProgram(self, self._channel(f"exec 2>&1; {command}"), self._cancel)

    def round_trip(self) -> float:
        """Measure the seconds of one round trip; 0 on loopback, where a slow answer comes from a busy machine."""
        if self._endpoint.host.startswith("127.") or self._endpoint.host in ("localhost", "::1"):
            return 0.0
        started = time.monotonic()
        self.answers()
        return time.monotonic() - started

    def close(self) -> None:
        """End the connection, and those to its gateways."""
        self._closed.set()
        gateway = self._connection.gateway
        with contextlib.suppress(*BROKEN):  # it may be broken already
            self._connection.close()
        while gateway is not None:
            with contextlib.suppress(*BROKEN):
                gateway.close()
            gateway = gateway.gateway

    def end(self, running: _Running) -> None:
        """End the remote process group: SIGTERM, and SIGKILL for what is still there.

        Raises:
            Lost: the connection ended.
        """
        if running.pid is None:
            return
        for signal in ("TERM", "KILL"):
            with contextlib.closing(self._channel(end_line(running.pid, signal, sudo=self.user != "root"))) as channel:
                channel.status_event.wait(PATIENCE)
            if running.drain(PATIENCE):
                return

    def end_leftovers(self) -> None:
        """End commands of an earlier process; see the base class."""
        with contextlib.closing(self._channel(LEFTOVERS)) as channel:
            found = _Running(self, channel, Collected("", None, keep=True), self._cancel).wait(TALK)
        for pid in found.stdout.split():
            for word in ("TERM", "KILL"):
                with contextlib.closing(self._channel(end_line(int(pid), word, sudo=self.user != "root"))) as channel:
                    channel.status_event.wait(PATIENCE)

    def answers(self) -> bool:
        """Ask for a sign of life: a channel is closed before its connection is known to be dead."""
        with contextlib.suppress(*BROKEN):
            self._session.global_request("keepalive@openssh.com", wait=True)
        return self.alive

    def _channel(self, line: str) -> Channel:
        try:
            channel = self._session.open_session(timeout=SILENCE)
            channel.exec_command(line)
        except BROKEN as error:
            raise Lost(str(error) or "the connection is closed") from error
        return channel

    def _greet(self, timeout: float) -> None:
        """Learn how commands can get a session of their own."""
        try:
            with contextlib.closing(self._channel(PROBE)) as channel:
                result = _Running(self, channel, Collected("", None, keep=True), self._cancel).wait(timeout)
        except (Lost, TimedOut) as error:
            raise NotReached("session", f"logged in, but no command runs ({error or 'no answer'})") from error
        answer = result.stdout.split()
        if not answer or answer[-1] not in ("leader", "setsid", "bare"):
            raise ConnectError(
                f"the login shell of {self.user} on {self._endpoint.host} is not a POSIX shell",
                why=(result.stdout + result.stderr).strip(),
                hint="log in as a user whose shell is sh, bash, dash, busybox or the like",
            )
        self._own_session = answer[-1]

    def _pulse(self) -> None:
        """Find out that the other side died silently: no packet tells, so ask and count the seconds until an answer."""
        while not self._closed.wait(SILENCE / 4):
            answered = threading.Event()

            def ask(done: threading.Event = answered) -> None:
                with contextlib.suppress(*BROKEN):
                    self._session.global_request("keepalive@openssh.com", wait=True)
                done.set()

            threading.Thread(target=ask, name="bakery-pulse-ask", daemon=True).start()
            if not answered.wait(SILENCE) or not self._session.is_active():
                self._session.close()
                return


class _Running:
    """A command on its channel."""

    def __init__(self, transport: SshTransport, channel: Channel, collected: Collected, cancel: Cancel) -> None:
        self._transport = transport
        self._channel = channel
        self._collected = collected
        self._cancel = cancel
        self._head: bytes | None = b""
        self._feeder: Feeder | None = None
        self.pid: int | None = None

    def feed(self, source: bytes | IO[bytes] | None) -> None:
        """Write the input; in the background unless the channel takes it at once."""
        channel = self._channel
        self._feeder = Feeder(source or b"", lambda data: send(channel, data), channel.shutdown_write, BROKEN)
        if source is None or (isinstance(source, bytes) and len(source) <= channel.out_window_size):
            self._feeder.feed()
        else:
            self._feeder.start()

    def wait(self, timeout: float | None) -> Result:
        """Hand on what comes until the command ends."""
        while not self._ended():
            self._cancel.check()
            if self._feeder is not None:
                self._feeder.check()
            if timeout is not None and self._collected.seconds > timeout:
                self._transport.end(self)
                raise TimedOut(self._collected.result(-1))
            self._sleep(POLL)
        self._read()
        self._flush_head()
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

    def _ended(self) -> bool:
        """True when all output is there; a program left in the background may keep the streams open after the end."""
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
        """Wait until something comes. After the end of the streams their file descriptor is always ready."""
        if self._channel.eof_received:
            self._channel.status_event.wait(seconds)
        else:
            ready([self._channel.fileno()], seconds)

    def _read(self) -> bool:
        """Take all that is there."""
        came = False
        while self._channel.recv_stderr_ready() and (data := self._channel.recv_stderr(CHUNK)):
            came = True
            self._stderr(data)
        while self._channel.recv_ready() and (data := self._channel.recv(CHUNK)):
            came = True
            self._collected.take("stdout", data)
        return came

    def _stderr(self, data: bytes) -> None:
        """Take the process id out of the stream's head, whatever the login shell wrote before it."""
        if self._head is None:
            self._collected.take("stderr", data)
            return
        self._head += data
        if (found := read_pid(self._head)) is not None:
            self.pid, rest = found
            self._head = None
            if rest:
                self._collected.take("stderr", rest)

    def _flush_head(self) -> None:
        if self._head:
            self._collected.take("stderr", self._head)
        self._head = None

    def _exit_code(self) -> int:
        """Return the exit code. None came: either the connection died, or the shell itself was killed."""
        code: int = self._channel.exit_status
        if code >= 0:
            return code
        if not self._transport.answers():
            raise Lost("the connection ended under the command")
        return 137


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


class _SshProgram:
    """A long-lived program on a channel."""

    def __init__(self, transport: SshTransport, channel: Channel, cancel: Cancel) -> None:
        self._transport = transport
        self._channel = channel
        self._cancel = cancel

    def send(self, data: bytes) -> None:
        try:
            send(self._channel, data)
        except BROKEN as error:
            raise Lost("the program has ended") from error

    def recv(self, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._cancel.check()
            left = POLL if deadline is None else min(POLL, max(0.0, deadline - time.monotonic()))
            self._channel.settimeout(left)
            try:
                data = self._channel.recv(CHUNK)
            except TimeoutError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                continue
            if not data and not self._transport.alive:
                raise Lost("the connection ended under the program")
            return data

    def close(self) -> None:
        self._channel.close()
