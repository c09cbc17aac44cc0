"""From an endpoint to shells on the machine: over one SSH connection, or into a container's namespaces."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from bakery.errors import ConnectError, NotYet
from bakery.machine.transport.namespace import NamespaceTransport, entering, environment
from bakery.model import Endpoint, Stream
from bakery.smoke.shell import Pipes
from bakery.state.ssh_keys import Keys
from bakery.util import process_attributes
from bakery.util.results import Lost
from bakery.util.waiting import Cancel, until

if TYPE_CHECKING:
    import fabric
    import paramiko

ATTEMPT: Final = 15.0
PATIENCE: Final = 60.0
"""Seconds: the machine has answered before, when it was launched."""
_CHUNK: Final = 1 << 20


class Connection(ABC):
    """A way to a machine that is open; each `spawn` starts one more shell on it."""

    @abstractmethod
    def spawn(self) -> Pipes:
        """Start `/bin/sh` as root."""

    @abstractmethod
    def close(self) -> None:
        """End it, with all that was started over it."""


def connect(endpoint: Endpoint, keys: Keys) -> Connection:
    """Open the way to a machine.

    Raises:
        ConnectError: it does not answer, shows another host key than the pinned one, or does not accept ours.
    """
    if endpoint.transport == "namespace":
        return _Namespace(endpoint)
    return _Ssh(endpoint, keys)


class _Ssh(Connection):
    """One SSH connection, one channel a shell."""

    def __init__(self, endpoint: Endpoint, keys: Keys) -> None:
        from bakery.machine.transport.connect import connect as log_in
        from bakery.machine.transport.stages import NotReached

        self._command = "exec /bin/sh" if endpoint.user == "root" else "exec sudo -n -- /bin/sh"
        self._name = f"{endpoint.user}@{endpoint.host} port {endpoint.port}"

        def attempt() -> fabric.Connection:
            try:
                return log_in(endpoint, keys.user_private, ATTEMPT)
            except NotReached as error:
                if error.stage in ("host key", "authentication"):  # it was launched, and reached, with these keys
                    raise ConnectError(f"cannot log in to {self._name}: {error.stage}", why=error.reason) from error
                raise NotYet(f"{error.stage}: {error.reason}") from error

        self._connection = until(
            attempt,
            what=f"logging in to {self._name} for the smoke tests",
            timeout=PATIENCE,
            cancel=Cancel(),
            error=ConnectError,
        )

    def spawn(self) -> Pipes:
        from paramiko.ssh_exception import SSHException

        from bakery.machine.transport.connect import session_of

        try:
            channel = session_of(self._connection).open_session(timeout=ATTEMPT)
            channel.exec_command(self._command)
        except (SSHException, EOFError, OSError) as error:
            raise Lost(f"the connection to {self._name} is closed: {error}") from error
        return _ChannelPipes(channel)

    def close(self) -> None:
        self._connection.close()


class _ChannelPipes:
    """A shell at the other end of an SSH channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._fd = channel.fileno()

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise Lost(str(error)) from error

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        channel = self._channel
        select.select([self._fd], [], [], timeout)
        found: list[tuple[Stream, bytes]] = []
        if channel.recv_ready():
            found.append(("stdout", channel.recv(_CHUNK)))
        if channel.recv_stderr_ready():
            found.append(("stderr", channel.recv_stderr(_CHUNK)))
        if not found and (channel.closed or channel.eof_received):
            raise Lost("the shell on the machine has ended")
        return found

    def close(self) -> None:
        self._channel.close()


class _Namespace(Connection):
    """Shells inside a container on this host, entered through its leader's namespaces."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._pid = int(endpoint.data["pid"])
        self._way = NamespaceTransport(endpoint, Cancel())  # it knows whether the leader is still the same process

    def spawn(self) -> Pipes:
        if not self._way.alive:
            raise Lost(f"the container's leader, process {self._pid}, is gone")
        return _ProcessPipes(entering(self._pid), environment(self._pid))

    def close(self) -> None:
        pass  # each shell is a process of its own, and `Shell.close` ends them


class _ProcessPipes:
    """A shell that is a process of this host."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                bufsize=0,
                env=env,
                start_new_session=True,
                umask=process_attributes.UMASK,
            )
        except OSError as error:
            raise ConnectError(f"cannot run {shlex.join(command)}", why=str(error)) from error
        if not (self._process.stdin and self._process.stdout and self._process.stderr):
            raise Lost("no pipes")
        self._input = self._process.stdin
        self._open: dict[int, Stream] = {
            self._process.stdout.fileno(): "stdout",
            self._process.stderr.fileno(): "stderr",
        }

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._input.write(rest) or 0 :]
        except OSError as error:
            raise Lost(str(error)) from error

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        found: list[tuple[Stream, bytes]] = []
        ready, _, _ = select.select(list(self._open), [], [], timeout)
        for fd in ready:
            if data := os.read(fd, _CHUNK):
                found.append((self._open[fd], data))
            else:
                del self._open[fd]
        if not found and not self._open:
            raise Lost("the shell in the container has ended")
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
