"""An sshd on loopback with its own keys and configuration: a machine to talk to, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from bakery import Machine
from bakery.errors import NotYet, PreflightError
from bakery.events import Event, Output
from bakery.machine.transport.link import Link
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
from bakery.util.process import Process, start_process
from bakery.util.waiting import Cancel, until

SSHD: Final = shutil.which("sshd") or "/usr/sbin/sshd"
CONFIG: Final = """
{settings}
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
Subsystem sftp internal-sftp
"""
QUIET: Final = "SetEnv SHLVL=2"
"""Bash reads ~/.bashrc of whoever runs the tests when it thinks that it is the first shell of an SSH login."""


@dataclass
class Server:
    """An sshd, and a machine behind it."""

    folder: Path
    keys: Keys
    port: int
    process: Process
    user: str = "root"
    cancel: Cancel = field(default_factory=Cancel)
    events: list[Event] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        """How to reach it."""
        return Endpoint(host="127.0.0.1", port=self.port, user=self.user, host_key=self.keys.host_public)

    def link(self, endpoint: Endpoint | None = None, *, keys: Keys | None = None, timeout: float = 30) -> Link:
        """Return a new way to it."""
        work = WorkContext(cache=self.folder, cancel=self.cancel, emit=self.events.append)
        return Link(lambda: endpoint or self.endpoint, keys or self.keys, work, timeout=timeout)

    def machine(self, endpoint: Endpoint | None = None) -> Machine:
        """Return the machine behind it."""
        work = WorkContext(cache=self.folder, cancel=self.cancel, emit=self.events.append)
        return Machine(self.link(endpoint), self.folder, work, step="step")

    @property
    def output(self) -> str:
        """What its commands said to the user."""
        return "\n".join(event.text for event in self.events if isinstance(event, Output))

    def sessions(self) -> list[int]:
        """Return the processes that serve connections; none once the server has ended.

        From OpenSSH 10 on those of root, too, are two for each, of which one goes on without the other.
        """
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process.pid for process in below if _serves(process)]

    def stop(self) -> None:
        """End the server and what serves connections."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def start_sshd(
    folder: Path, keys: Keys, *, wrap: Sequence[str] = (), settings: str = QUIET, user: str = "root"
) -> Server:
    """Start an sshd that lets `keys` in as any user; needs root.

    Args:
        folder: for its files; is made.
        keys: its host key, and the login key.
        wrap: words of a command that starts it, such as `unshare --mount ...`.
        settings: lines of its configuration; of those that come twice the first counts, and these come first.
        user: whom its endpoint names.

    Raises:
        PreflightError: it does not start; with its log.
    """
    folder.mkdir()
    (folder / "host").touch(mode=0o600)
    (folder / "host").write_text(keys.host_private)
    (folder / "authorized_keys").write_text(keys.user_public + "\n")
    port = _free_port()
    (folder / "config").write_text(CONFIG.format(folder=folder, port=port, settings=settings))
    Path("/run/sshd").mkdir(exist_ok=True)  # its privilege separation folder; sshd(8)
    log = folder / "log"
    with log.open("ab") as said:  # of a program that should start it
        words = [*wrap, SSHD, "-D", "-f", str(folder / "config"), "-E", str(log)]
        process = start_process(words, stdout=said, stderr=said)

    def listens() -> Server:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                raise NotYet(log.read_text() or "no log yet")
        return Server(folder, keys, port, process, user)

    return until(listens, what="sshd listens", timeout=30, cancel=Cancel(), error=PreflightError)


def _serves(process: psutil.Process) -> bool:
    """Say whether it is sshd itself, not a command that somebody runs by it."""
    try:
        return process.name().startswith("sshd")
    except psutil.NoSuchProcess:
        return False


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
