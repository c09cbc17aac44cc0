"""SSH: commands on channels of one connection, streamed both ways, with a timeout that ends the remote side."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import IO, TYPE_CHECKING, Final

from paramiko.ssh_exception import ChannelException

from bakery.errors import ConnectError
from bakery.machine.transport import channel as channels
from bakery.machine.transport.arrivals import Arrivals
from bakery.machine.transport.banner import SILENCE
from bakery.machine.transport.base import ShellProgram, Transport
from bakery.machine.transport.channel import BROKEN, Running, ShellChannel
from bakery.machine.transport.connect import TALK, connect, remarks_of, session_of
from bakery.machine.transport.frame import Frame
from bakery.machine.transport.obstacle import ASK, Refusal
from bakery.machine.transport.remote_shell import LEFTOVERS, PROBE, end_line
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Result
from bakery.util.process import PATIENCE
from bakery.util.results import Lost, OnOutput, TimedOut
from bakery.util.streams import CHUNK, Collected
from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection
    from paramiko import Channel

CROWDED: Final = 2.0
"""Seconds that an sshd with few sessions has to notice that the last one has ended, before another way is sought."""


class SshTransport(Transport):
    """One open SSH connection.

    Args:
        endpoint: where to, with the pinned host key.
        private_key: what we log in with.
        cancel: ends commands.
        timeout: seconds for each stage of connecting, at least `TALK` for those that follow a server's first word.
        watch: called while whoever accepts the connection says nothing; see `knock`.
        greet: False leaves it to the first command to find out whether commands run.

    Raises:
        NotReached: with the stage that failed.
        ConnectError: the endpoint has no host key, or something stands between us and a shell of ours.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        private_key: str,
        cancel: Cancel,
        timeout: float = 15.0,
        watch: Callable[[], object] | None = None,
        *,
        greet: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._private_key = private_key
        self._cancel = cancel
        self._connection: Connection = connect(endpoint, private_key, timeout, watch)
        self._closed = threading.Event()
        self._session = session_of(self._connection)
        self._own_session = ""
        self._shell = ""
        self._spares: list[SshTransport] = []
        threading.Thread(target=self._pulse, name="bakery-pulse", daemon=True).start()
        try:
            if greet:
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
        frame = Frame()
        collected = Collected(command, on_output, keep=collect, frame=frame)
        with contextlib.closing(self._channel(self._line(frame, command))) as channel:
            running = Running(self, channel, frame, collected, self._cancel)
            running.feed(input)
            try:
                return running.wait(timeout)
            except (TimedOut, Lost, ConnectError):
                raise
            except BaseException:
                with self._cancel, contextlib.suppress(Lost):  # the run is cancelled: the reason is on its way up
                    self.end(running)
                raise

    def open_shell(self, timeout: float = 60.0, *, as_root: bool = True) -> ShellProgram:
        """Start a shell; see the base class."""
        frame = Frame("shell")
        before = () if self.user == "root" or not as_root else ("sudo", "-n", "--")
        channel = self._channel(frame.line(before=before))
        try:
            return ShellChannel(self, channel, frame, self._cancel, timeout)
        except BaseException:
            channel.close()
            raise

    def ping(self) -> float:
        """Measure the seconds of one round trip."""
        started = time.monotonic()
        self.answers()
        return time.monotonic() - started

    def round_trip(self) -> float:
        """Measure the seconds of one round trip; 0 on loopback, where a slow answer comes from a busy machine."""
        if self._endpoint.host.startswith("127.") or self._endpoint.host in ("localhost", "::1"):
            return 0.0
        return self.ping()

    def close(self) -> None:
        """End the connection, and those to its gateways."""
        self._closed.set()
        for spare in self._spares:
            spare.close()
        gateway = self._connection.gateway
        with contextlib.suppress(*BROKEN):  # it may be broken already
            self._connection.close()
        while gateway is not None:
            with contextlib.suppress(*BROKEN):
                gateway.close()
            gateway = gateway.gateway

    def end(self, running: Running) -> None:
        """End a command and all that it started, also what has let go of its streams.

        Raises:
            Lost: the connection ended.
        """
        if not running.begun(PATIENCE) or running.frame.pid is None:
            return  # it never came to our command
        self._end(running.frame.pid)
        running.drain(PATIENCE)

    def end_leftovers(self) -> None:
        """End commands of an earlier process; see the base class."""
        left = self._look(LEFTOVERS, TALK)
        for pid in left.stdout.split():
            self._end(int(pid))

    def answers(self) -> bool:
        """Ask for a sign of life: a channel is closed before its connection is known to be dead."""
        with contextlib.suppress(*BROKEN):
            self._session.global_request("keepalive@openssh.com", wait=True)
        return self.alive

    def prove(self) -> None:
        """Find out whether commands of ours run, and how they can get a session of their own.

        Raises:
            ConnectError: they do not, or not in time; says what stands in the way.
            Lost: the connection ended.
        """
        frame = Frame("look")
        try:
            self._probe(frame, 3 * channels.STARTS)
        except TimedOut:
            raise self.obstacle(frame, None) from None

    def obstacle(self, frame: Frame, exited: int | None) -> ConnectError:
        """Say why our shell did not answer.

        Args:
            frame: of the line that was sent.
            exited: what took the line ended so; None while it runs.
        """
        options = remarks_of(self._session)
        streams = [
            name
            for name, came in (("standard error", frame.came("stderr")), ("output", frame.came("stdout")))
            if not came
        ]
        return Refusal(
            user=self.user,
            host=self._endpoint.host,
            said=frame.chatter,
            exited=exited,
            shell=self._shell,
            asked="" if options else self._ask(),
            options=options,
            sudo=self.user != "root",
            missing=streams[0] if len(streams) == 1 else "",
        ).explain()

    def _line(self, frame: Frame, command: str) -> str:
        return frame.line(command, before=("setsid",) if self._own_session == "setsid" else ())

    def _look(self, command: str, timeout: float) -> Result:
        """Run a command of our own that looks after others; nothing watches over its start."""
        frame = Frame("look")
        collected = Collected("", None, keep=True, frame=frame)
        with contextlib.closing(self._channel(self._line(frame, command))) as channel:
            running = Running(self, channel, frame, collected, self._cancel, watched=False)
            running.feed(None)
            return running.wait(timeout)

    def _end(self, pid: int) -> None:
        with self._cancel, contextlib.suppress(TimedOut):
            self._look(end_line(pid, sudo=self.user != "root"), 3 * PATIENCE)

    def _channel(self, line: str) -> Channel:
        try:
            channel = self.open_channel()
            channel.exec_command(line)
        except BROKEN as error:
            raise Lost(str(error) or "the connection is closed") from error
        return channel

    def open_channel(self) -> Channel:
        """Open a channel; on another connection where the server allows no more sessions on this one.

        Raises:
            ConnectError: the server allows no session at all.
            SSHException: the connection ended.
        """
        deadline = time.monotonic() + (0.0 if self._spares else CROWDED)
        while (channel := self._try_channel()) is None and time.monotonic() < deadline:
            self._cancel.sleep(CROWDED / 10)  # it has perhaps not noticed yet that the last command has ended
        self._spares = [spare for spare in self._spares if spare.alive]
        for spare in self._spares:
            channel = channel or spare._try_channel()  # noqa: SLF001  one of us
        if channel is None:
            spare = SshTransport(self._endpoint, self._private_key, self._cancel, greet=False)
            self._spares.append(spare)
            channel = spare._try_channel()
        if channel is None:
            raise ConnectError(
                f"sshd on {self._endpoint.host} lets {self.user} log in, and open no session",
                hint="MaxSessions in sshd's configuration is 0, or a Match block allows forwarding alone",
            )
        return channel

    def _try_channel(self) -> Channel | None:
        """Open a channel on this connection; None where the server allows no more."""
        try:
            return self._session.open_session(timeout=SILENCE)
        except ChannelException:
            if not self.answers():
                raise
            return None

    def _greet(self, timeout: float) -> None:
        """Learn how commands can get a session of their own; a machine that is slow is asked again."""
        frame = Frame("look")
        try:
            self._probe(frame, timeout)
        except Lost as error:
            raise NotReached("session", f"logged in, but no command runs ({error or 'no answer'})") from error
        except TimedOut:
            raise NotReached("session", f"logged in, but {self.obstacle(frame, None).what}") from None

    def _probe(self, frame: Frame, timeout: float) -> None:
        with contextlib.closing(self._channel(frame.line(PROBE))) as channel:
            running = Running(
                self, channel, frame, Collected("", None, keep=True, frame=frame), self._cancel, watched=False
            )
            running.feed(None)
            answer = running.wait(timeout).stdout.split("\n")
        self._own_session, self._shell = answer[0], answer[1] if len(answer) > 1 else ""

    def _ask(self) -> str:
        """Put a harmless question to whoever takes our lines."""
        said = b""
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(*BROKEN, Lost), contextlib.closing(self._channel(ASK)) as channel:
            channel.set_combine_stderr(True)
            arrivals = Arrivals(channel)
            channel.shutdown_write()
            while (
                time.monotonic() < deadline
                and len(said) < CHUNK
                and not channel.closed
                and not (channel.eof_received and not channel.recv_ready())
            ):
                arrivals.wait(0.1)
                if channel.recv_ready():
                    said += channel.recv(CHUNK)
        return said.decode(errors="replace")

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
