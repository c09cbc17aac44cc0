"""A local disk into the inventory: an OVF is announced, and its disk uploaded under a lease that is kept alive."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ssl
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, refusal, translate_errors
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.errors import BakeryError, DriverError, NotYet
from bakery.state.claim import Claim
from bakery.util.waiting import Cancel, until

PIECE = 1 << 20
READY: Final = 300.0
"""Seconds until a lease can be used."""
ALIVE: Final = 10.0
"""Seconds between two signs of life of a lease, which ends after some minutes without one."""
PATIENCE: Final = 600.0
"""Seconds that a host may keep us waiting for a piece to be taken."""
CREATED = frozenset({200, 201})
VMDK = "application/x-vnd.vmware-streamVmdk"


@dataclass(frozen=True, kw_only=True)
class ImportJob:
    """One machine's import.

    Args:
        center: where.
        name: the machine's, temporary.
        descriptor: its OVF.
        pool, folder, store: where it goes.
        host: the host, or None.
        networks: what the OVF's networks are here.
        claim: the right to make it.
    """

    center: VCenter
    name: str
    descriptor: str
    pool: Any
    folder: Any
    store: Any
    host: Any
    networks: tuple[tuple[str, Entity], ...]
    claim: Claim


def import_machine(job: ImportJob, disk: Path, timeout: float) -> Any:
    """Make a machine of an OVF and a disk, and return pyvmomi's reference to it.

    Args:
        job: what.
        disk: a stream-optimized VMDK.
        timeout: seconds for all of it.

    Raises:
        VSphereError: the OVF or the disk is refused.
    """
    center, claim = job.center, job.claim
    lease = center.call(
        "import the machine",
        lambda: job.pool.ImportVApp(spec=_spec(job), folder=job.folder, host=job.host),
        repeat=False,
    )
    info = _ready(center, lease, claim)
    machine = info.entity  # a lease that is complete is gone, and knows nothing any more
    try:
        with _kept_alive(center, lease) as progress:
            _upload(job, disk, _target(info), progress, timeout)
        center.call("finish the import", lease.HttpNfcLeaseComplete, repeat=False)
    except BaseException:
        with contextlib.suppress(BakeryError):
            center.within(Cancel()).call("give the import up", lease.HttpNfcLeaseAbort, repeat=False)
        raise
    return machine


def _spec(job: ImportJob) -> Any:
    """Let vSphere read the OVF; what it says of it is an error, and what it warns of is told."""
    vim, center = types.vim(), job.center
    networks = [vim.OvfManager.NetworkMapping(name=name, network=entity.ref) for name, entity in job.networks]
    wanted = vim.OvfManager.CreateImportSpecParams(
        locale="", deploymentOption="", entityName=job.name, networkMapping=networks, diskProvisioning="thin"
    )
    result = center.call(
        "read the OVF",
        lambda: center.content.ovfManager.CreateImportSpec(job.descriptor, job.pool, job.store, wanted),
    )
    for warning in result.warning or ():
        job.claim.notice(f"vSphere says of the OVF: {warning.msg}", warning=True)
    if result.error:
        raise refusal("take the OVF", result.error[0])
    return result.importSpec


def _ready(center: VCenter, lease: Any, claim: Claim) -> Any:
    def probe() -> Any:
        with patience("vSphere"):
            values = center.properties(lease, "state", "error", "info", "initializeProgress") or {}
        match str(values.get("state")):
            case "ready":
                return values["info"]
            case "error":
                raise refusal("prepare the import", values["error"])
            case state:
                raise NotYet(f"the import is {state} ({values.get('initializeProgress') or 0} %)")

    return until(
        probe,
        what="vSphere is ready for the disk",
        timeout=READY,
        cancel=claim.cancel,
        notify=claim.waiting,
        error=VSphereError,
    )


def _target(info: Any) -> Any:
    """Return where a lease takes the disk."""
    for target in info.deviceUrl or ():
        if target.disk:
            return target
    raise DriverError("vSphere takes no disk for the machine", why="its lease names no address for one")


@dataclass
class UploadProgress:
    """How far an upload is, in percent."""

    percent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _kept_alive(center: VCenter, lease: Any) -> Generator[UploadProgress]:
    """Tell a lease how far the upload is, now and then, so that it does not end."""
    progress = UploadProgress()

    def tell() -> None:
        while not progress.stop.wait(ALIVE):
            with contextlib.suppress(BakeryError):  # whether it still holds is seen when it is finished
                center.within(Cancel()).call(
                    "go on with the import", lambda: lease.HttpNfcLeaseProgress(progress.percent), repeat=False
                )

    thread = threading.Thread(target=tell, name="vsphere-lease", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        progress.stop.set()
        thread.join()


def _upload(job: ImportJob, disk: Path, target: Any, progress: UploadProgress, timeout: float) -> None:
    size = disk.stat().st_size
    url = urlsplit(str(target.url).replace("*", job.center.account.address[0], 1))
    own_port = job.center.account.address[1] if "*" in str(target.url) else 443
    with translate_errors(f"take the disk {disk.name}"):
        connection = _connection(job.center, url.hostname or "", url.port or own_port, str(target.sslThumbprint or ""))
        try:
            connection.timeout = min(PATIENCE, timeout)
            headers = {"Content-Type": VMDK, "Content-Length": str(size), "Overwrite": "t"}
            connection.request("POST", url.path, _pieces(disk, size, job.claim, progress), headers)
            answer = connection.getresponse()
            text = answer.read(500).decode(errors="replace")
        finally:
            connection.close()
    if answer.status not in CREATED:
        raise VSphereError(f"vSphere did not take the disk {disk.name}", why=f"{answer.status} {answer.reason}: {text}")


def _connection(center: VCenter, host: str, port: int, thumbprint: str) -> http.client.HTTPSConnection:
    """Connect to the host that takes the disk: verified as the server is, or by the thumbprint that the server told."""
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


def _pieces(disk: Path, size: int, claim: Claim, progress: UploadProgress) -> Iterator[bytes]:
    done = 0
    with disk.open("rb") as file:
        while piece := file.read(PIECE):
            claim.cancel.check()
            yield piece
            done += len(piece)
            progress.percent = min(99, done * 100 // max(1, size))
            claim.progress("upload", done, size)
