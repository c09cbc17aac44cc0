"""Servers: asked for, looked at, stopped, ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, NOT_FOUND, OpenStackError, status_of
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.state.claim import Claim
from bakery.util.waiting import until

TASK = "OS-EXT-STS:task_state"
NO_ROOM = ("No valid host was found", "Exceeded maximum number of retries", "Exhausted all hosts")
DEAD = frozenset({"DELETED", "SOFT_DELETED", "SHELVED_OFFLOADED"})
LINES = 400
LATE = 0.1
"""How much later than it happens a change of state may be seen, as a part of the time waited."""


def described(cloud: OpenStackCloud, server: str) -> dict[str, Any] | None:
    """Return a server as Nova describes it; to be asked again when Nova has no time.

    Raises:
        NotYet: Nova fails or throttles; the server is none the worse for that.
    """
    try:
        return resources.get(cloud, "server", server)
    except RetryableError as error:
        raise NotYet(f"OpenStack asks for patience ({error.why.split(':')[0]})") from error


def action(cloud: OpenStackCloud, server: str, what: str, name: str, body: Any = None) -> dict[str, Any]:
    """Ask for an action on a server."""
    return cloud.ask("POST", "compute", f"/servers/{server}/action", what, json={name: body})


def fault(found: Mapping[str, Any]) -> str:
    """Why Nova says that a server failed."""
    return str(found.get("fault", {}).get("message", "")) or f"Nova says: {found['status']}"


def wait_started(cloud: OpenStackCloud, server: str, source: OpenStack, claim: Claim) -> str:
    """Wait until a server runs. A hypervisor that fails sends it to another one, so only then is its place certain.

    Returns:
        An empty text, or why there is no room for it.

    Raises:
        DriverError: it failed for another reason.
    """

    def probe() -> str:
        found = described(cloud, server)
        if found is not None and found["status"] == "ERROR" and any(text in fault(found) for text in NO_ROOM):
            return fault(found)
        _must_run(cloud, server, found)
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


def running(cloud: OpenStackCloud, server: str) -> dict[str, Any]:
    """Return the running server.

    Raises:
        NotYet: not running yet.
        DriverError: it never will be; with its last words.
    """
    return _must_run(cloud, server, described(cloud, server))


def _must_run(cloud: OpenStackCloud, server: str, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        raise NotYet("Nova does not show the server yet")
    status = found["status"]
    if status in {"BUILD", "REBOOT", "HARD_REBOOT"}:
        raise NotYet(f"the server is {status} ({found.get(TASK) or 'no task'})")
    if status != "ACTIVE":
        raise DriverError(f"the server {server} is {status}", why=_last_words(cloud, server, found))
    return found


def _last_words(cloud: OpenStackCloud, server: str, found: Mapping[str, Any]) -> str:
    try:
        lines = console(cloud, server).splitlines()[-15:]
    except DriverError as error:
        lines = [f"(no console text: {error.why})"]
    return "\n".join([fault(found), *lines])


def console(cloud: OpenStackCloud, server: str) -> str:
    """Return the last lines that a server wrote on its console."""
    answer = action(cloud, server, "read the console", "os-getConsoleOutput", {"length": LINES})
    return str(answer.get("output") or "")


def stop(cloud: OpenStackCloud, server: str, source: OpenStack, claim: Claim) -> None:
    """Power a server off through its guest: Nova presses the power button, and waits.

    Raises:
        DriverError: it ended, failed, or does not stop.
    """
    pressed = False

    def probe() -> None:
        nonlocal pressed
        found = described(cloud, server)
        status = found["status"] if found else "gone"
        if found is None or status in DEAD or status == "ERROR":
            raise DriverError(
                f"the server {server} is {status} and cannot be imaged", why=fault(found) if found else ""
            )
        if status == "SHUTOFF" and not found.get(TASK):
            return
        if not pressed:
            pressed = _pressed(cloud, server)
        raise NotYet(f"the server is {status} ({found.get(TASK) or 'no task'})")

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


def _pressed(cloud: OpenStackCloud, server: str) -> bool:
    """Press the power button; False where the server is busy, or off by itself already."""
    try:
        action(cloud, server, "stop the server", "os-stop")
    except OpenStackError as error:
        if status_of(error) == CONFLICT:
            return False
        if not isinstance(error, RetryableError):
            raise
        return False
    return True


def end(cloud: OpenStackCloud, server: str) -> None:
    """Ask for a server's end, also where the cloud keeps deleted ones for a while."""
    try:
        resources.delete(cloud, "server", server)
    except OpenStackError as error:
        if status_of(error) != CONFLICT:
            raise


def ended(cloud: OpenStackCloud, server: str) -> None:
    """Return when a server is gone.

    Raises:
        NotYet: it is not.
    """
    found = described(cloud, server)
    if found is None:
        return
    if found["status"] == "SOFT_DELETED":
        try:
            action(cloud, server, "end the server", "forceDelete")
        except OpenStackError as error:
            if status_of(error) not in {CONFLICT, NOT_FOUND}:
                raise
    elif found.get(TASK) != "deleting":
        end(cloud, server)  # it was busy when we asked first
    raise NotYet(f"the server is {found['status']} ({found.get(TASK) or 'no task'})")
