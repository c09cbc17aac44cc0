"""Where a machine answers, and which key it shows: the machine is asked often, the cloud only now and then."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Final

from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.machine import servers
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared import host_keys
from bakery.drivers.shared.console import host_key_from
from bakery.drivers.shared.waiting import patience
from bakery.errors import NotYet
from bakery.model import Endpoint, Handle
from bakery.util.waiting import Cancel

STATE: Final = 2.0
"""Seconds for which a machine that ran is taken to run."""
CONSOLE: Final = 4.0
"""Seconds between two looks at the console of a machine whose port does not answer from here."""
KNOCK: Final = 0.3
"""Seconds for one knock. A packet lost while the network comes up would be sent again only after one, three, seven."""
KNOCKING: Final = 1.5
"""Seconds of knocking between two looks at anything else."""


@dataclass
class Known:
    """What is known of one machine; times are those of `time.monotonic`."""

    ran: float = -STATE
    read: float = 0.0
    host_key: str = ""


@dataclass(frozen=True)
class Reach:
    """What is known of machines, for as long as this process lives."""

    _known: dict[str, Known] = field(default_factory=dict[str, Known])

    def endpoint(self, cloud: OpenStackCloud, handle: Handle) -> Endpoint:
        """Say how to reach a machine.

        Raises:
            NotYet: it does not run yet, or its host key is not known yet.
            DriverError: it is dead; with the end of its console.
        """
        source = OpenStack.from_settings(handle.settings["source"])
        known = self._known.setdefault(handle.id, Known())
        if time.monotonic() - known.ran >= STATE:
            servers.running(cloud, handle.id)
            known.ran = time.monotonic()
            known.read = known.read or known.ran
        if source.host_key == "given":
            key = host_keys.known(handle)
        else:
            key = known.host_key = known.host_key or _shown(cloud, handle, source, known)
        data = host_keys.endpoint_data(handle, key)
        address = handle.data["address"]
        return Endpoint(host=address, user=source.user, host_key=key, gateway=source.bastion, data=data)


def _shown(cloud: OpenStackCloud, handle: Handle, source: OpenStack, known: Known) -> str:
    """Return the host key that the machine wrote on its console, which comes over the authenticated API."""
    patient = source.bastion is not None or time.monotonic() - known.read >= CONSOLE
    if not patient and not _answers(handle.data["address"], cloud.cancel):
        raise NotYet("the machine does not listen yet")
    known.read = time.monotonic()
    with patience("OpenStack"):
        return host_key_from(servers.console(cloud, handle.id))


def _answers(address: str, cancel: Cancel) -> bool:
    end = time.monotonic() + KNOCKING
    while (began := time.monotonic()) < end:
        try:
            socket.create_connection((address, 22), timeout=KNOCK).close()
        except OSError:
            cancel.sleep(max(0.0, began + KNOCK - time.monotonic()))  # where it is refused, at once, and not lost
        else:
            return True
    return False
