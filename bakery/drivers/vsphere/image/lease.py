"""A lease on a machine's disks: kept alive while they are transferred, either way, then finished or given up."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, refusal
from bakery.errors import BakeryError, NotYet
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

READY: Final = 300.0
"""Seconds until a lease can be used."""
ALIVE: Final = 10.0
"""Seconds between two signs of life of a lease, which ends after some minutes without one."""
PATIENCE: Final = 600.0
"""Seconds that a host may keep us waiting for a piece."""
PORT: Final = 443
OWN_HOST = "*"
"""What stands for the server's own name in a lease's addresses."""


def ready(center: VCenter, lease: Any, purpose: str, work: WorkContext) -> Any:
    """Wait until a lease can be used, and return what it says of the machine's files.

    Args:
        center: where.
        lease: pyvmomi's reference to it.
        purpose: `import` or `export`.
        work: ends the wait when cancelled, and is told of it.

    Raises:
        VSphereError: there will be none.
    """

    def probe() -> Any:
        with patience("vSphere"):
            values = center.properties(lease, "state", "error", "info", "initializeProgress") or {}
        match str(values.get("state")):
            case "ready":
                return values["info"]
            case "error":
                raise refusal(f"prepare the {purpose}", values["error"])
            case state:
                raise NotYet(f"the {purpose} is {state} ({values.get('initializeProgress') or 0} %)")

    return until(
        probe,
        what=f"vSphere is ready for the {purpose}",
        timeout=READY,
        cancel=work.cancel,
        notify=work.waiting,
        error=VSphereError,
    )


@dataclass
class LeaseProgress:
    """How far a transfer is.

    Args:
        total: bytes of all files, as far as they are known.
        done: bytes that were transferred.
    """

    total: int = 0
    done: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def percent(self) -> int:
        """What is told to the lease; 100 is said by finishing it."""
        return min(99, self.done * 100 // max(1, self.total))


@contextmanager
def kept_alive(center: VCenter, lease: Any, purpose: str, total: int) -> Generator[LeaseProgress]:
    """Tell a lease how far its transfer is, now and then, so that it does not end.

    Args:
        center: where.
        lease: pyvmomi's reference to it.
        purpose: `import` or `export`.
        total: bytes to transfer.
    """
    progress = LeaseProgress(total)

    def tell() -> None:
        while not progress.stop.wait(ALIVE):
            with contextlib.suppress(BakeryError):  # whether it still holds is seen when it is finished
                center.within(Cancel()).call(
                    f"go on with the {purpose}", lambda: lease.HttpNfcLeaseProgress(progress.percent), repeat=False
                )

    thread = threading.Thread(target=tell, name="vsphere-lease", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        progress.stop.set()
        thread.join()


@contextmanager
def finished_or_aborted(center: VCenter, lease: Any, purpose: str) -> Generator[None]:
    """Finish a lease at the end of the block, or give it up where the block fails, so that the machine is free."""
    try:
        yield
        center.call(f"finish the {purpose}", lease.HttpNfcLeaseComplete, repeat=False)
    except BaseException:
        with contextlib.suppress(BakeryError):
            center.within(Cancel()).call(f"give the {purpose} up", lease.HttpNfcLeaseAbort, repeat=False)
        raise


def open_address(center: VCenter, target: Any) -> tuple[http.client.HTTPSConnection, str]:
    """Connect to where a lease has one of its files, and return what to ask for there.

    Args:
        center: where.
        target: pyvmomi's `HttpNfcLease.DeviceUrl`.

    Raises:
        VSphereError: the host is not the one that the server means.
        OSError: no connection.
    """
    server, own_port = center.account.address
    text = str(target.url)
    url = urlsplit(text.replace(OWN_HOST, server, 1))
    port = url.port or (own_port if OWN_HOST in text else PORT)
    path = f"{url.path}?{url.query}" if url.query else url.path
    return connect(center, url.hostname or "", port, str(target.sslThumbprint or "")), path


def connect(center: VCenter, host: str, port: int, thumbprint: str) -> http.client.HTTPSConnection:
    """Connect to a host that has disks: verified as the server is, or by the thumbprint that the server told."""
    if host == center.account.address[0] or not thumbprint:
        connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=center.account.trust())
        connection.connect()
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
    connection.connect()
    certificate = connection.sock.getpeercert(binary_form=True) or b""
    seen = hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
    if seen != thumbprint.replace(":", "").lower():
        connection.close()
        raise VSphereError(
            f"the host {host} is not the one that the server means", why=f"its certificate's SHA-1 is {seen}"
        )
    return connection
