"""An SSH server in this process, over a pair of sockets: paramiko's own server, and a shell that a test plays."""

from __future__ import annotations

import re
import shlex
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import paramiko
import pytest
from paramiko import Channel, Message, ServerInterface
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED, OPEN_SUCCEEDED

from bakery.machine.transport import connect
from bakery.machine.transport.remote_shell import LEFTOVERS, PROBE
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys, make_keys

KEYS: Final[Keys] = make_keys("bakery-test")
PID: Final = 4711
SUCCESS: Final = bytes([99])
"""SSH_MSG_CHANNEL_SUCCESS; RFC 4254, 9."""


@dataclass
class Run:
    """One command of ours that the server was asked for."""

    server: Server
    channel: Channel
    command: str
    kind: str
    before: list[str]
    ended: threading.Event = field(default_factory=threading.Event)

    def out(self, text: str | bytes) -> None:
        """Write to standard output."""
        self.channel.sendall(text.encode() if isinstance(text, str) else text)

    def err(self, text: str) -> None:
        """Write to standard error."""
        self.channel.sendall_stderr(text.encode())

    def read(self) -> bytes:
        """Read standard input to its end."""
        data = b""
        while piece := self.channel.recv(1 << 15):
            data += piece
        return data

    def say(self, text: str) -> int:
        """Write to standard output, and succeed."""
        self.out(text)
        return 0

    def hang(self) -> int:
        """Run until a signal ends it."""
        self.ended.wait(20)
        return 143


Command = Callable[[Run], int]


@dataclass
class Server:
    """A machine with an sshd: what its login shell does, and what its commands do.

    Args:
        commands: what runs, by a part of the command; nothing, successfully, else.
        login: takes the line in place of a shell of ours where it returns an exit code.
        sessions: how many channels a connection may have at once.
    """

    commands: dict[str, Command] = field(default_factory=dict[str, Command])
    login: Callable[[Run], int | None] = lambda _: None
    sessions: int = 10
    user: str = "root"
    leads: str = "leader"
    takes: Callable[[paramiko.PKey], bool] = lambda _: True
    ciphers: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list[str])
    ran: list[Run] = field(default_factory=list[Run])
    ended: list[int] = field(default_factory=list[int])
    transports: list[paramiko.Transport] = field(default_factory=list[paramiko.Transport])
    key: str = KEYS.host_private

    @property
    def endpoint(self) -> Endpoint:
        """How to reach it."""
        return Endpoint(host="192.0.2.1", user=self.user, host_key=KEYS.host_public)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Server:
        """Be there for whoever knocks."""
        monkeypatch.setattr(connect, "knock", lambda *_: self.accept())
        return self

    def accept(self) -> socket.socket:
        """Accept a connection, and return the client's end."""
        ours, theirs = socket.socketpair()
        transport = _Transport(ours)
        transport.set_log_channel("bakery.test.sshd")
        transport.add_server_key(_private(self.key))
        if self.ciphers:
            transport.get_security_options().ciphers = self.ciphers
        self.transports.append(transport)
        transport.start_server(server=_Sessions(self, transport), event=threading.Event())
        return theirs

    def cut(self) -> None:
        """End all connections, as a power cut does."""
        for transport in self.transports:
            transport.close()

    def serve(self, channel: Channel, line: str) -> None:
        """Run a line as sshd does: the login shell gets it."""
        self.lines.append(line)
        words = shlex.split(line)
        name = next((word for word in words if word in ("bakery-run", "bakery-look", "bakery-shell")), "")
        at = words.index(name) if name else 0
        text = words[at + 3] if len(words) > at + 3 else ""
        text = re.sub(rb"\\0([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text.encode()).decode()
        run = Run(self, channel, text, name, words[1 : words.index("/bin/sh")] if "/bin/sh" in words else [])
        code = self.login(run)
        if code is None and not name:  # a question to the login shell itself
            run.out("bakery-login-shell /bin/bash\n")
            code = 0
        elif code is None:
            mark = words[at + 1] + words[at + 2]
            command = self._command(run)  # noted before the client hears of it, as it may look at once
            run.err(f"{mark}:{PID};")
            run.out(f"{mark};")
            code = command(run)
            if name != "bakery-shell":
                run.err(f"{mark}:{code};")
        channel.send_exit_status(code)
        channel.close()

    def _command(self, run: Run) -> Command:
        if run.command == PROBE:
            return lambda run: run.say(f"{self.leads}\n/bin/bash\n")
        if run.command == LEFTOVERS:
            return lambda run: run.say("101\n102\n")
        if found := re.search(r"bakery-end (\d+)", run.command):
            return lambda _: self._end(int(found[1]))
        self.ran.append(run)
        return next((does for part, does in self.commands.items() if part in (run.command or run.kind)), lambda _: 0)

    def _end(self, pid: int) -> int:
        self.ended.append(pid)
        for run in self.ran:
            run.ended.set()
        return 0


class _Transport(paramiko.Transport):
    """Starts commands once their channel's success was told, as sshd does; a quick one would end its channel first."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.waiting: list[Callable[[], None]] = []

    def _send_user_message(self, data: Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]  # its stubs leave it out
        if data.asbytes()[:1] == SUCCESS and self.waiting:
            threading.Thread(target=self.waiting.pop(0), daemon=True).start()


class _Sessions(ServerInterface):
    """Lets in, and has each command run in a thread."""

    def __init__(self, server: Server, transport: _Transport) -> None:
        self._server = server
        self._transport = transport
        self._open: list[int] = []

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == self._server.user and self._server.takes(key)
        return AUTH_SUCCESSFUL if good else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del kind
        if len(self._open) >= self._server.sessions:
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        self._open.append(chanid)
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Channel, command: bytes) -> bool:
        def run() -> None:
            try:
                self._server.serve(channel, command.decode())
            except (OSError, EOFError):
                return  # the client, or the test, cut the connection
            finally:
                self._open.remove(channel.get_id())

        self._transport.waiting.append(run)
        return True


def _private(text: str) -> paramiko.PKey:
    import io

    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))
