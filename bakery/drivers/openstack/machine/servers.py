"""Servers: looked at, waited for, stopped, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, NOT_FOUND, OpenStackError, status_of
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared.waiting import patience
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.state.claim import Claim
from bakery.util.waiting import until

if TYPE_CHECKING:
    from openstack.compute.v2.server import Server

NO_ROOM = ("No valid host was found", "Exceeded maximum number of retries", "Exhausted all hosts")
DEAD = frozenset({"DELETED", "SOFT_DELETED", "SHELVED_OFFLOADED"})
LINES = 400
LATE = 0.1
"""How much later than it happens a change of state may be seen, as a part of the time waited."""


def described(cloud: OpenStackCloud, server: str) -> Server | None:
    """Return a server as Nova describes it, or None where there is none.

    Raises:
        NotYet: Nova fails or throttles; the server is none the worse for that.
    """
    with patience("OpenStack"):
        current: Server | None = resources.get(cloud, "server", server)
    return current


def fault(server: Server) -> str:
    """Return why Nova says that a server failed."""
    return str((server.fault or {}).get("message", "")) or f"Nova says: {server.status}"


def wait_started(cloud: OpenStackCloud, server: str, source: OpenStack, claim: Claim) -> str:
    """Wait until a server runs. A hypervisor that fails sends it to another one, so only then is its place certain.

    Returns:
        An empty text, or why there is no room for it.

    Raises:
        DriverError: it failed for another reason.
    """

    def probe() -> str:
        current = described(cloud, server)
        if current is not None and current.status == "ERROR" and any(text in fault(current) for text in NO_ROOM):
            return fault(current)
        _must_run(cloud, server, current)
        return ""

    return until(
        probe,
        what="OpenStack starts the server",
        timeout=source.launch_timeout,
        cancel=claim.cancel,
        notify=claim.waiting,
        every=(0.1, source.poll),
        late=LATE,
        hint="OpenStack(launch_timeout=...) is how long building a server may take, in seconds",
    )


def running(cloud: OpenStackCloud, server: str) -> Server:
    """Return the running server.

    Raises:
        NotYet: not running yet.
        DriverError: it never will be; with the end of its console.
    """
    return _must_run(cloud, server, described(cloud, server))


def _must_run(cloud: OpenStackCloud, name: str, server: Server | None) -> Server:
    if server is None:
        raise NotYet("Nova does not show the server yet")
    if server.status in {"BUILD", "REBOOT", "HARD_REBOOT"}:
        raise NotYet(_state(server))
    if server.status != "ACTIVE":
        raise DriverError(f"the server {name} is {server.status}", why=_end_of_console(cloud, name, server))
    return server


def _state(server: Server) -> str:
    return f"the server is {server.status} ({server.task_state or 'no task'})"


def _end_of_console(cloud: OpenStackCloud, name: str, server: Server) -> str:
    """Nova's reason, and the last lines that the server wrote."""
    try:
        lines = console(cloud, name).splitlines()[-15:]
    except DriverError as error:
        lines = [f"(no console text: {error.why})"]
    return "\n".join([fault(server), *lines])


def console(cloud: OpenStackCloud, server: str) -> str:
    """Return the last lines that a server wrote on its console."""
    answer: dict[str, Any] = cloud.call(
        "compute",
        "read the console",
        lambda compute: compute.get_server_console_output(server, length=LINES),
        repeat=False,
    )
    return str(answer.get("output") or "")


def stop(cloud: OpenStackCloud, server: str, source: OpenStack, claim: Claim) -> None:
    """Power a server off through its guest: Nova presses the power button, and waits.

    Raises:
        DriverError: it ended, failed, or does not stop.
    """
    pressed = False

    def probe() -> None:
        nonlocal pressed
        current = described(cloud, server)
        status = current.status if current else "gone"
        if current is None or status in DEAD or status == "ERROR":
            raise DriverError(
                f"the server {server} is {status} and cannot be imaged", why=fault(current) if current else ""
            )
        if status == "SHUTOFF" and not current.task_state:
            return
        if not pressed:
            pressed = _press(cloud, server)
        raise NotYet(_state(current))

    until(
        probe,
        what="the server powers off",
        timeout=source.stop_timeout,
        cancel=claim.cancel,
        notify=claim.waiting,
        every=(0.1, source.poll),
        late=LATE,
        hint="does the guest react to its power button (acpid, systemd-logind)? OpenStack(stop_timeout=...)",
    )


def _press(cloud: OpenStackCloud, server: str) -> bool:
    """Press the power button; return False where the server is busy or off by itself already, or Nova has no time."""
    try:
        cloud.call("compute", "stop the server", lambda compute: compute.stop_server(server), repeat=False)
    except RetryableError:
        return False
    except OpenStackError as error:
        if status_of(error) != CONFLICT:
            raise
        return False
    return True


def end(cloud: OpenStackCloud, server: str) -> None:
    """Ask for a server's end; one that is busy is asked again by `ended`."""
    try:
        resources.delete(cloud, "server", server)
    except OpenStackError as error:
        if status_of(error) != CONFLICT:
            raise


def ended(cloud: OpenStackCloud, server: str) -> None:
    """Return when a server is gone, also where the cloud keeps deleted ones for a while.

    Raises:
        NotYet: it is not.
    """
    current = described(cloud, server)
    if current is None:
        return
    if current.status == "SOFT_DELETED":
        _force(cloud, server)
    elif current.task_state != "deleting":
        end(cloud, server)  # it was busy when we asked first
    raise NotYet(_state(current))


def _force(cloud: OpenStackCloud, server: str) -> None:
    try:
        cloud.call("compute", "end the server", lambda compute: compute.delete_server(server, force=True), repeat=False)
    except OpenStackError as error:
        if status_of(error) not in {CONFLICT, NOT_FOUND}:
            raise
