"""A port of this host's loopback for a machine's NAT rule."""

from __future__ import annotations

import random
import socket

from bakery.errors import DriverError

FIRST, LAST = 20000, 32767
"""Below the range from which Linux takes ports for outgoing connections, so that none of those gets in between."""
TRIES = 200


def free_port() -> int:
    """Return a port that nobody listens on; VirtualBox binds it when the machine starts.

    Between the two it can be lost, which then is seen: the machine has another host key than the one at that port.

    Raises:
        DriverError: none is free.
    """
    for _ in range(TRIES):
        port = random.randint(FIRST, LAST)  # noqa: S311  no secret
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DriverError("no port of 127.0.0.1 is free for the machine", why=f"{TRIES} of {FIRST}-{LAST} were tried")
