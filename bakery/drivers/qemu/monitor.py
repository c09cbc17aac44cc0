"""QMP: questions and orders to a running QEMU, over a socket in its folder.

A connection lives for one `with` block, because QEMU serves one client at a time, and because any process (also
`bake gc`, tomorrow) must be able to ask. QEMU's own library speaks the protocol; it is asynchronous, so each
connection brings a loop of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from bakery.drivers.qemu.process import SOCKET
from bakery.errors import DriverError, NotYet
from bakery.util.unix_sockets import reachable

T = TypeVar("T")


class QmpError(DriverError):
    """QEMU understood, and said no."""


class Monitor:
    """A connection to a running QEMU.

    Args:
        folder: the machine's folder.
        timeout: seconds for each answer.

    Raises:
        NotYet: nobody listens there, or somebody else is being served.
    """

    def __init__(self, folder: Path, *, timeout: float = 15.0) -> None:
        import asyncio  # slow to import, and where nothing has changed, no machine is asked

        from qemu.qmp import QMPClient

        self._folder = folder
        self._timeout = timeout
        self._runner = asyncio.Runner()
        self._client = QMPClient()
        self._client.logger = _silent()

    def __enter__(self) -> Self:
        """Connect."""
        from qemu.qmp import ConnectError

        try:
            with reachable(self._folder / SOCKET) as path:
                self._wait(self._client.connect(path))
        except (ConnectError, OSError, TimeoutError) as error:
            self._runner.close()
            raise NotYet("QEMU starts; its monitor does not answer yet") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        from qemu.qmp import QMPError

        try:
            self._wait(self._client.disconnect())
        except (QMPError, EOFError, OSError, TimeoutError):
            logging.getLogger(__name__).debug("QEMU hung up first", exc_info=True)
        finally:
            self._runner.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command and return QEMU's answer.

        Args:
            command: as in the QMP reference, `query-status`.
            arguments: its arguments; `_` in a name stands for QMP's `-`.

        Raises:
            QmpError: QEMU says no, in its own words.
            NotYet: QEMU is gone, or too busy to answer.
        """
        from qemu.qmp import ExecuteError, QMPError

        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            return self._wait(self._client.execute(command, named))
        except ExecuteError as error:
            raise QmpError(f"QEMU refused {command}", why=str(error)) from error
        except (QMPError, EOFError, OSError, TimeoutError) as error:
            # The library has another error for a connection that breaks than for one that is broken already.
            raise NotYet(f"QEMU did not answer {command}") from error

    def give_file(self, descriptor: int, name: str) -> None:
        """Hand QEMU a copy of an open file, which it knows by a name from then on.

        Args:
            descriptor: the file.
            name: for the command that uses it.

        Raises:
            QmpError: QEMU says no.
            NotYet: QEMU is gone, or too busy to answer.
        """
        from qemu.qmp import QMPError

        try:
            self._client.send_fd_scm(descriptor)
        except (QMPError, OSError) as error:
            raise NotYet("QEMU did not take a file") from error
        self.ask("getfd", fdname=name)

    def _wait(self, question: Coroutine[Any, Any, T]) -> T:
        import asyncio

        return self._runner.run(asyncio.wait_for(question, self._timeout))


def _silent() -> logging.Logger:
    """Return a logger that says nothing: the library calls it an error when QEMU went away, or is not there yet."""
    return logging.Logger("qemu.qmp", level=logging.CRITICAL + 1)  # noqa: LOG001  not a global one, on purpose
