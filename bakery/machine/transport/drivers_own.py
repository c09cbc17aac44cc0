"""Ways to a machine that a driver brings along: guest operations, and whatever others find."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from bakery.errors import ConnectError
from bakery.machine.transport.base import Transport
from bakery.model import Endpoint
from bakery.util.waiting import Cancel


def is_drivers_own(endpoint: Endpoint) -> bool:
    """Say whether a machine is reached by a way of its driver's."""
    return ":" in endpoint.transport


def open_drivers_own(endpoint: Endpoint, cancel: Cancel) -> Transport:
    """Open a way that the endpoint names as entry points are written: `package.module:function`.

    Args:
        endpoint: given to that function, with all that it needs: it may be called in another process.
        cancel: given to it; ends commands.

    Raises:
        NotReached: asking again may help.
        ConnectError: there is no such way.
    """
    module, _, name = endpoint.transport.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConnectError(
            f"no transport is called {endpoint.transport!r}",
            why=str(error),
            hint="ssh, namespace, or a driver's own as package.module:function",
        ) from error
    return cast("Callable[[Endpoint, Cancel], Transport]", found)(endpoint, cancel)
