"""Waiting for the first word of an SSH server: patient with a slow one, quick to notice one that has just started.

QEMU's port forwarding accepts a connection long before the machine behind it can, and sends the lost first packet again
every 13 seconds, for 75; also for a connection that was closed here meanwhile (measured, QEMU 7.2). So one connection
notices a new server 6 seconds late, and those given up reach it all the same: each costs it a process, and OpenSSH 9.8
and newer hold each against us (PerSourcePenalties). Hence a few connections, opened one after the other, and kept.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bakery.machine.transport.stages import NotReached

if TYPE_CHECKING:
    from bakery.model import Endpoint

SILENCE: Final = 60
"""Seconds without a sign from the other side after which a connection counts as lost."""
KEPT: Final = 6
"""Connections that wait at once."""
APART: Final = 13.0 / KEPT
"""Seconds between them: the longest that a server which has just started goes unnoticed; half of it on average."""
HOLD: Final = 70.0
"""Seconds that they are kept."""


def knock(endpoint: Endpoint, patience: float, watch: Callable[[], object] | None = None) -> socket.socket:
    """Return a connection on which an SSH server has begun to speak; nothing of it is read yet.

    Args:
        endpoint: where to.
        patience: seconds until a connection that nobody accepts is given up; and a silent one, without `watch`.
        watch: called every few seconds of silence; what it raises ends the wait.

    Raises:
        NotReached: nobody listens, or whoever does says nothing.
    """
    deadline = time.monotonic() + (patience if watch is None else HOLD)
    waiting = [_tcp(endpoint, patience)]
    heard: socket.socket | None = None
    try:
        while heard is None and (left := deadline - time.monotonic()) > 0:
            heard = _first(waiting, min(APART, left))
            if heard is None and watch is not None:
                watch()
            if heard is None and len(waiting) < KEPT and left > APART:
                waiting.append(_tcp(endpoint, patience))
    except ConnectionError as error:
        raise NotReached("banner", f"{endpoint.host} port {endpoint.port}: no SSH server answers") from error
    finally:
        for sock in waiting:
            if sock is not heard:
                sock.close()
    if heard is None:
        raise NotReached("banner", f"{endpoint.host} port {endpoint.port}: no SSH server answers")
    return heard


def _first(socks: list[socket.socket], seconds: float) -> socket.socket | None:
    """Wait for the first that has something to say.

    Raises:
        ConnectionError: one was closed: the machine is there, and its server is not.
    """
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poll.register(number, select.POLLIN)
    for number, _ in poll.poll(max(0.0, seconds) * 1000):
        if not by_number[number].recv(1, socket.MSG_PEEK):
            raise ConnectionResetError
        return by_number[number]
    return None


def _tcp(endpoint: Endpoint, timeout: float) -> socket.socket:
    """Open the TCP connection and tune it."""
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
    except OSError as error:
        reason = "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise NotReached("port", f"{endpoint.host} port {endpoint.port}: {reason}") from error
    with contextlib.suppress(OSError):  # closed by the other side already, as reading it will tell
        # Nagle's algorithm holds the second small packet of a call back until the first is acknowledged: 40 ms each.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":  # what was sent and is not acknowledged: tcp(7); elsewhere the pulse finds out
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)
    return sock
