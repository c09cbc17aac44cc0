"""What a way to reach a machine must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import IO, Protocol, TypeAlias

from bakery.model import Result, Stream
from bakery.util.results import OnOutput


class ShellProgram(Protocol):
    """A POSIX shell on the machine, as root, that takes commands from its standard input. It has proven to be ours."""

    @property
    def pid(self) -> int:
        """Its process id on the machine."""
        ...

    def send(self, data: bytes) -> None:
        """Write to its standard input.

        Raises:
            Lost: it, or the connection, ended.
        """

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        """Wait for output and return what is there; nothing when the time is up.

        Args:
            timeout: seconds; None waits for ever, 0 does not wait.

        Raises:
            Lost: it has ended, and all its output was returned.
        """
        ...

    def close(self) -> None:
        """End it; safe to call twice."""


class Transport(ABC):
    """One open way to a machine. Knows nothing of users, sudo, prefixes: `Machine` builds the final words.

    All methods raise `Lost` when the connection ends under them, and `ConnectError` when the machine runs something
    else in place of our shell.
    """

    @abstractmethod
    def run(
        self,
        command: str,
        *,
        input: bytes | IO[bytes] | None = None,  # noqa: A002  Fabric's and subprocess's word
        timeout: float | None = None,
        on_output: OnOutput | None = None,
        collect: bool = True,
    ) -> Result:
        """Run a command line with the machine's `/bin/sh` and wait for its end.

        Args:
            command: a line for the remote POSIX shell; the caller has quoted what needs it.
            input: bytes, or a file to stream, sent once the machine has proven that our shell runs; standard input is
                closed after it, and at once when None.
            timeout: seconds; then the remote process group is ended and `TimedOut` raised.
            on_output: called with each chunk as it arrives, from the calling thread.
            collect: False leaves `stdout` of the result empty: for downloads, which `on_output` writes to a file.
        """

    def open_shell(self, timeout: float = 60.0, *, as_root: bool = True) -> ShellProgram:
        """Start a shell, to talk to for a long time.

        Args:
            timeout: seconds until it must have answered.
            as_root: False leaves it to whoever logged in.

        Raises:
            ConnectError: no shell of ours starts; says what stands in the way.
            Lost: the connection ended.
        """
        raise NotImplementedError

    def end_leftovers(self) -> None:  # noqa: B027  some transports have none
        """End commands that an earlier process, which was killed, left running on the machine.

        Raises:
            Lost: the connection ended.
        """

    def ping(self) -> float:
        """Measure the seconds of one round trip, on this host too.

        Raises:
            Lost: the connection ended.
        """
        return self.round_trip()

    def round_trip(self) -> float:
        """Measure the seconds of one round trip; 0 for a machine on this host."""
        return 0.0

    @property
    def alive(self) -> bool:
        """False once the connection is known to be gone."""
        return True

    @abstractmethod
    def close(self) -> None:
        """End it; safe to call twice."""

    @property
    @abstractmethod
    def user(self) -> str:
        """The login user: `root` needs no sudo."""


Env: TypeAlias = Mapping[str, str]
