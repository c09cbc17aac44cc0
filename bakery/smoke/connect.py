"""From an endpoint to a way to the machine under test: one SSH connection, a container's namespaces, a driver's own."""

from __future__ import annotations

from typing import Final

from bakery.errors import ConnectError, NotYet
from bakery.machine.transport.base import Transport
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util.waiting import Cancel, until

ATTEMPT: Final = 15.0
PATIENCE: Final = 60.0
"""Seconds: the machine has answered before, when it was launched."""


def connect(endpoint: Endpoint, keys: Keys) -> Transport:
    """Open the way to a machine; each shell of the tests goes over it.

    Raises:
        ConnectError: it does not answer, shows another host key than the pinned one, or does not accept ours.
    """
    if endpoint.transport == "namespace":
        from bakery.machine.transport.namespace import NamespaceTransport

        return NamespaceTransport(endpoint, Cancel())
    from bakery.machine.transport.drivers_own import is_drivers_own
    from bakery.machine.transport.stages import NotReached

    name = f"{endpoint.user}@{endpoint.host}" + ("" if is_drivers_own(endpoint) else f" port {endpoint.port}")

    def attempt() -> Transport:
        try:
            return _open(endpoint, keys)
        except NotReached as error:
            if error.stage in (
                "algorithms",
                "host key",
                "authentication",
            ):  # it was launched, and reached, with these keys
                raise ConnectError(f"cannot log in to {name}: {error.stage}", why=error.reason) from error
            raise NotYet(f"{error.stage}: {error.reason}") from error

    return until(
        attempt, what=f"logging in to {name} for the smoke tests", timeout=PATIENCE, cancel=Cancel(), error=ConnectError
    )


def _open(endpoint: Endpoint, keys: Keys) -> Transport:
    if endpoint.transport != "ssh":
        from bakery.machine.transport.drivers_own import open_drivers_own

        return open_drivers_own(endpoint, Cancel())
    from bakery.machine.transport.ssh import SshTransport

    # The first shell of the tests finds out whether commands run: nothing else is asked before.
    return SshTransport(endpoint, keys.user_private, Cancel(), ATTEMPT, greet=False)
