"""What a way to reach a machine must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import IO, Protocol, TypeAlias

from bakery.model import Result
from bakery.util.results import OnOutput


class ShellProgram(Protocol):
    """A program on the machine that is talked to for a long time."""

    def send(self, data: bytes) -> None:
        """Write to its standard input.

        Raises:
            Lost: it, or the connection, ended.
        """

    def recv(self, timeout: float | None = None) -> bytes:
        """Return what it wrote, as soon as there is something; `b""` at its end.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: nothing came in time.
            Lost: the connection ended.
        """
        ...

    def close(self) -> None:
        """Close its standard input and be done with it; safe to call twice."""


class Transport(ABC):
    """One open way to a machine. Knows nothing of users, sudo, prefixes: `Machine` builds the final words.

    All methods raise `Lost` when the connection ends under them.
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
        """Run a command line with the login user's `sh` and wait for its end.

        Args:
            command: a line for the remote POSIX shell; the caller has quoted what needs it.
            input: bytes, or a file to stream; standard input is closed after it, and at once when None.
            timeout: seconds; then the remote process group is ended and `TimedOut` raised.
            on_output: called with each chunk as it arrives, from the calling thread.
            collect: False leaves `stdout` of the result empty: for downloads, which `on_output` writes to a file.
        """

    def open_shell(self, command: str = "sh") -> ShellProgram:
        """Start a program to talk to for a long time: two pipes, its standard error in the same stream as its output.

        Args:
            command: a line for the login user's `sh`.

        Raises:
            Lost: when the connection ended.
        """
        raise NotImplementedError

    def end_leftovers(self) -> None:  # noqa: B027  some transports have none
        """End commands that an earlier process, which was killed, left running on the machine.

        Raises:
            Lost: the connection ended.
        """

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
