"""Where a machine answers: what VMware Tools report, what the guest says, or what the user said."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final

from bakery.drivers.shared import host_keys
from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api.center import Properties, VCenter
from bakery.drivers.vsphere.source import GUESTINFO, VSphere
from bakery.errors import DriverError, NotYet
from bakery.model import Endpoint, Handle

STATE: Final = 2.0
"""Seconds for which an address that was found is taken to be right."""
KNOCK: Final = 0.3
PATHS = (
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "guest.ipAddress",
    "guest.net",
    "guest.toolsRunningStatus",
)


@dataclass
class Seen:
    """What is known of one machine; times are those of `time.monotonic`."""

    address: str = ""
    since: float = 0.0
    settled: float = -STATE


@dataclass(frozen=True)
class AddressFinder:
    """What is known of machines, for as long as this process lives."""

    _seen: dict[str, Seen] = field(default_factory=dict[str, Seen])

    def endpoint(self, center: VCenter, handle: Handle) -> Endpoint:
        """Say how to reach a machine.

        Raises:
            NotYet: it has no address yet, or one that may change still.
            DriverError: it does not run any more, or waits for an answer to a question.
        """
        source = VSphere.from_settings(handle.settings["source"], base=None)
        seen = self._seen.setdefault(handle.id, Seen())
        if time.monotonic() - seen.settled >= STATE:
            self._look(center, handle, source, seen)
        key = host_keys.known(handle)
        return Endpoint(host=seen.address, user=source.user, host_key=key, data=host_keys.endpoint_data(handle, key))

    def _look(self, center: VCenter, handle: Handle, source: VSphere, seen: Seen) -> None:
        with patience("vSphere"):
            machine = center.machine(handle.data["machine"])
            paths = (*PATHS, "config.extraConfig") if source.address.startswith(GUESTINFO) else PATHS
            values = center.properties(machine, *paths)
        must_run(handle.id, values)
        address = _address(source, values or {})
        now = time.monotonic()
        if address != seen.address:
            seen.address, seen.since = address, now
        # An address is the right one when it answers, and the only one that there is after a while: some guests have
        # one from a link-local protocol, or of an image's first network, before DHCP gives them theirs.
        if now - seen.since < source.settle and not _answers(address):
            raise NotYet(f"its address {address} does not answer, and may change still")
        seen.settled = time.monotonic()


def must_run(machine: str, values: Properties | None) -> None:
    """See that a machine runs.

    Raises:
        NotYet: vCenter cannot see it at the moment.
        DriverError: it does not, or waits for somebody's answer.
    """
    if values is None:
        raise DriverError(f"the machine {machine} is gone", why="somebody destroyed it")
    if (question := values.get("runtime.question")) is not None:
        choices = ", ".join(f"{one.key}: {one.label}" for one in question.choice.choiceInfo)
        raise DriverError(
            f"the machine {machine} waits for an answer",
            why=f"{question.text} ({choices})",
            hint="answer it in vCenter",
        )
    if str(values.get("runtime.connectionState", "connected")) != "connected":
        raise NotYet(f"vCenter has lost sight of the machine ({values['runtime.connectionState']})")
    state = str(values.get("runtime.powerState"))
    if state != "poweredOn":
        raise DriverError(f"the machine {machine} does not run any more", why=f"vSphere says that it is {state}")


def _address(source: VSphere, values: Properties) -> str:
    if source.address.startswith(GUESTINFO):
        options = {str(one.key): str(one.value) for one in values.get("config.extraConfig") or ()}
        text = options.get(source.address, "").strip()
        if not text:
            raise NotYet(f"the guest has not written {source.address} yet")
        return text
    if source.address != "tools":
        return source.address
    if found := _chosen(source, _reported(values)):
        return found
    if str(values.get("guest.toolsRunningStatus")) != "guestToolsRunning" and not values.get("guest.ipAddress"):
        raise NotYet("VMware Tools do not run in the guest yet")
    raise NotYet("VMware Tools report no address" + (f" in {source.address_within}" if source.address_within else ""))


def _reported(values: Properties) -> Iterator[str]:
    """Yield what Tools report: the main address, then those of all cards."""
    if main := values.get("guest.ipAddress"):
        yield str(main)
    for card in values.get("guest.net") or ():
        yield from (str(one) for one in card.ipAddress or ())


def _chosen(source: VSphere, reported: Iterator[str]) -> str:
    """Return the address to connect to: of the wanted network, of version 4 rather than 6, else the first."""
    usable = [text for text in dict.fromkeys(reported) if _usable(text, source.address_within)]
    return next((text for text in usable if ":" not in text), usable[0] if usable else "")


def _usable(text: str, within: str | None) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return False
    return within is None or address in ip_network(within)


def _answers(address: Any) -> bool:
    try:
        socket.create_connection((address, 22), timeout=KNOCK).close()
    except OSError:
        return False
    return True
