"""Where a guest that has no network is found: by its machine, and a user's name and password in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import VCenter, connect
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError, fault_of
from bakery.drivers.vsphere.guest.operations import REFUSED, ToolsGuest
from bakery.drivers.vsphere.guest.transport import TOOLS, GuestTransport
from bakery.drivers.vsphere.machine.endpoint import must_run
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, NotYet
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Handle, Problem
from bakery.redaction.secret import Secret
from bakery.util.results import Lost
from bakery.util.waiting import Cancel

WAY: Final = f"{__name__}:open_guest"
VARIABLE: Final = "VSPHERE_GUEST_PASSWORD"
PATHS: Final = ("runtime.powerState", "runtime.connectionState", "runtime.question", "guest.toolsRunningStatus")
RUNNING: Final = "guestToolsRunning"
AGAIN: Final = 10.0
"""Seconds after a refused login. cloud-init may be about to set the password, and many attempts lock an account."""


class GuestPasswords:
    """Passwords of users in guests, for as long as the process lives: no record holds them."""

    def __init__(self) -> None:
        self._known: dict[str, Secret] = {}

    def remember(self, source: VSphere) -> None:
        """Keep what a source says, for machines of its images."""
        if isinstance(source.guest_password, Secret):  # a text became one
            self._known[source.user] = source.guest_password

    def of(self, user: str, environ: Mapping[str, str] = os.environ) -> Secret:
        """Return a user's password: a source's, else the environment's.

        Raises:
            DriverError: there is none.
        """
        if user in self._known:
            return self._known[user]
        if text := environ.get(VARIABLE):
            return Secret(text, "vsphere_guest_password")
        raise DriverError(
            f"there is no password for {user} in the guest",
            why="guest operations know no keys",
            hint=f"guest_password=bakery.secret(...), or {VARIABLE}",
        )


def problems(source: VSphere) -> Iterator[Problem]:
    """Say what is missing to enter a guest without a network."""
    if source.transport != "guest":
        return
    passwords = GuestPasswords()
    passwords.remember(source)
    try:
        passwords.of(source.user)
    except DriverError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint)


def endpoint(center: VCenter, handle: Handle, source: VSphere, password: Secret) -> Endpoint:
    """Say how to reach a machine by guest operations.

    Args:
        center: where.
        handle: the machine.
        source: what the user asked for.
        password: of its user in the guest.

    Raises:
        NotYet: VMware Tools do not run yet.
        DriverError: it does not run any more, or waits for an answer to a question.
    """
    with patience("vSphere"):
        values = center.properties(center.machine(handle.data["machine"]), *PATHS)
    must_run(handle.id, values)
    if str((values or {}).get("guest.toolsRunningStatus")) != RUNNING:
        raise NotYet("VMware Tools do not run in the guest yet")
    return Endpoint(
        transport=WAY,
        host=handle.id,
        port=0,
        user=source.user,
        data={**center.record, "machine": handle.data["machine"]},
        credentials={"vsphere": center.session.password.reveal(), "guest": password.reveal()},
    )


def open_guest(endpoint: Endpoint, cancel: Cancel) -> GuestTransport:
    """Open the way that `endpoint` describes, in any process, by a session of its own.

    Args:
        endpoint: with its credentials.
        cancel: ends commands.

    Raises:
        NotReached: VMware Tools do not answer yet, or do not let the user in.
        VSphereError: refused for good.
    """
    account = VSphereAccount.from_json(endpoint.data["account"])
    try:
        session = connect(account, Secret(endpoint.credentials["vsphere"], "vsphere_password"))
    except VSphereRetryableError as error:
        raise NotReached("guest agent", f"{error.what}: {error.why}", hint=TOOLS) from error
    try:
        center = VCenter(account, session, cancel)
        password = Secret(endpoint.credentials["guest"], "vsphere_guest_password")
        guest = ToolsGuest(center, center.machine(endpoint.data["machine"]), endpoint.user, password)
        return GuestTransport(guest, endpoint.user, cancel)
    except Lost as error:
        session.close()
        raise NotReached("guest agent", str(error), hint=TOOLS) from error
    except VSphereError as error:
        session.close()
        if fault_of(error) != REFUSED:
            raise
        cancel.sleep(AGAIN)
        raise NotReached(
            "authentication", f"the guest does not let {endpoint.user} in ({error.why})", hint=error.hint
        ) from error
    except BaseException:
        session.close()
        raise
