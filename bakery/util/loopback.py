"""A port of this host's own address that leads to a UNIX socket, for programs of the same user and nobody else's."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ADDRESS: Final = "127.0.0.1"
TABLE: Final = Path("/proc/net/tcp")
_LOCAL, _UID = 1, 7
"""Columns of that table: proc(5)."""
_CHUNK: Final = 65_536


def owner_of(port: int, to: int, table: str) -> int | None:
    """Return the user id behind a connection from a port of this host to another; None where it is not in the table.

    Args:
        port: the connecting program's.
        to: the port that it connects to.
        table: the content of /proc/net/tcp.
    """
    ours = (f"0100007F:{port:04X}", f"0100007F:{to:04X}")
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > _UID and (words[_LOCAL], words[_LOCAL + 1]) == ours:
            return int(words[_UID])
    return None


@contextmanager
def forwarding(to: str, port: int, refused: Callable[[str], None]) -> Generator[int]:
    """Forward connections to a UNIX socket while the block runs.

    The kernel says whose program a connection comes from; another user's is closed before a byte goes through.

    Args:
        to: the path of the socket.
        port: where to listen on 127.0.0.1; 0 for one that is free.
        refused: hears of connections that were closed, and why.

    Returns:
        The port.

    Raises:
        OSError: the port is taken.
    """
    with socket.create_server((ADDRESS, port)) as listening:
        number: int = listening.getsockname()[1]
        threading.Thread(target=_serve, args=(listening, to, refused), name="forward", daemon=True).start()
        try:
            yield number
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, to: str, refused: Callable[[str], None]) -> None:
    while True:
        try:
            client, (_, port) = listening.accept()
        except OSError:
            return  # the block has ended
        owner = owner_of(port, listening.getsockname()[1], TABLE.read_text())
        if owner != os.geteuid():
            with client:
                refused(
                    f"a connection of user {owner}" if owner is not None else "a connection of nobody that is known"
                )
            continue
        threading.Thread(target=_join, args=(client, to, refused), name="forward", daemon=True).start()


def _join(client: socket.socket, to: str, refused: Callable[[str], None]) -> None:
    """Hand bytes to and fro until one of the two ends hangs up."""
    with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as machine:
        try:
            machine.connect(to)
        except OSError as error:
            refused(f"the machine's screen: {error.strerror}")
            return
        back = threading.Thread(target=_copy, args=(machine, client), name="forward", daemon=True)
        back.start()
        _copy(client, machine)
        back.join()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(_CHUNK):
            other.sendall(data)
    for end in (one, other):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
