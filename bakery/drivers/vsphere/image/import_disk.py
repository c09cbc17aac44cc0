"""A local disk into the inventory: an OVF is announced, and its disk uploaded under a lease that is kept alive."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ssl
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bakery.drivers.shared.ovf_package import PackageFile
from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, refusal, translate_errors
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.errors import BakeryError, DriverError, NotYet
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

READY: Final = 300.0
"""Seconds until a lease can be used."""
ALIVE: Final = 10.0
"""Seconds between two signs of life of a lease, which ends after some minutes without one."""
PATIENCE: Final = 600.0
"""Seconds that a host may keep us waiting for a piece to be taken."""
CREATED = frozenset({200, 201})
VMDK, PLAIN = "application/x-vnd.vmware-streamVmdk", "application/octet-stream"


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
        work: can cancel it, and is told how far it is.
        provisioning: of the disks, in vSphere's words: `thin`, `thick`, `eagerZeroedThick`.
        deployment: the id of one of the OVF's configurations; empty for its default.
        properties: of the OVF, by their whole names.
    """

    center: VCenter
    name: str
    descriptor: str
    pool: Any
    folder: Any
    store: Any
    host: Any
    networks: tuple[tuple[str, Entity], ...]
    work: WorkContext
    provisioning: str = "thin"
    deployment: str = ""
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


def import_machine(job: ImportJob, files: Mapping[str, PackageFile], timeout: float) -> Any:
    """Make a machine of an OVF and its files, and return pyvmomi's reference to it.

    Args:
        job: what.
        files: what the OVF names, such as stream-optimized VMDKs, by the names that it has for them.
        timeout: seconds for all of it.

    Raises:
        VSphereError: the OVF or a file is refused.
    """
    center, work = job.center, job.work
    result = read_ovf(job)
    for warning in result.warning or ():
        work.notice(f"vSphere says of the OVF: {warning.msg}", warning=True)
    lease = center.call(
        "import the machine",
        lambda: job.pool.ImportVApp(spec=result.importSpec, folder=job.folder, host=job.host),
        repeat=False,
    )
    info = _ready(center, lease, work)
    machine = info.entity  # a lease that is complete is gone, and knows nothing any more
    try:
        with _kept_alive(center, lease) as progress:
            for upload in _uploads(result, info, files):
                _upload(job, upload, progress, timeout)
        center.call("finish the import", lease.HttpNfcLeaseComplete, repeat=False)
    except BaseException:
        with contextlib.suppress(BakeryError):
            center.within(Cancel()).call("give the import up", lease.HttpNfcLeaseAbort, repeat=False)
        raise
    return machine


def read_ovf(job: ImportJob) -> Any:
    """Let vSphere read the OVF, which makes nothing; what it says of it is an error.

    Raises:
        VSphereError: it knows no such hardware, or refuses for another reason.
    """
    vim, center = types.vim(), job.center
    networks = [vim.OvfManager.NetworkMapping(name=name, network=entity.ref) for name, entity in job.networks]
    wanted = vim.OvfManager.CreateImportSpecParams(
        locale="",
        deploymentOption=job.deployment,
        entityName=job.name,
        networkMapping=networks,
        propertyMapping=[vim.KeyValue(key=key, value=value) for key, value in job.properties.items()],
        diskProvisioning=job.provisioning,
    )
    result = center.call(
        "read the OVF",
        lambda: center.content.ovfManager.CreateImportSpec(job.descriptor, job.pool, job.store, wanted),
    )
    if result.error:
        refused = [refusal("take the OVF", fault) for fault in result.error]
        raise VSphereError(refused[0].what, why="\n".join(one.why for one in refused), hint=refused[0].hint)
    return result


def _ready(center: VCenter, lease: Any, work: WorkContext) -> Any:
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
        cancel=work.cancel,
        notify=work.waiting,
        error=VSphereError,
    )


@dataclass(frozen=True, kw_only=True)
class LeaseUpload:
    """A file, and where a lease takes it.

    Args:
        file: of the package.
        target: the lease's address for it.
        new: it is no disk that the import has made already, but a file of its own.
        before: bytes of the files that go first.
        total: bytes of all files.
    """

    file: PackageFile
    target: Any
    new: bool
    before: int
    total: int


def _uploads(result: Any, info: Any, files: Mapping[str, PackageFile]) -> Iterator[LeaseUpload]:
    """Yield what is to be sent where: vSphere says which file is which device, and the lease where each goes."""
    targets = {str(target.importKey): target for target in info.deviceUrl or ()}
    items = list(result.fileItem or ())
    missing = [str(item.path) for item in items if str(item.path) not in files]
    if missing:
        raise DriverError("the machine cannot be imported", why=f"there is no {', '.join(missing)}")
    total, before = sum(files[str(item.path)].size for item in items), 0
    for item in items:
        file, target = files[str(item.path)], targets.get(str(item.deviceId))
        if target is None:
            raise DriverError(f"vSphere takes no {file.name} for the machine", why="its lease names no address for it")
        yield LeaseUpload(file=file, target=target, new=bool(item.create), before=before, total=total)
        before += file.size


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


def _upload(job: ImportJob, upload: LeaseUpload, progress: UploadProgress, timeout: float) -> None:
    target, name = upload.target, upload.file.name
    url = urlsplit(str(target.url).replace("*", job.center.account.address[0], 1))
    own_port = job.center.account.address[1] if "*" in str(target.url) else 443
    with translate_errors(f"take the file {name}"):
        connection = _connection(job.center, url.hostname or "", url.port or own_port, str(target.sslThumbprint or ""))
        try:
            connection.timeout = min(PATIENCE, timeout)
            method, kind = ("PUT", PLAIN) if upload.new else ("POST", VMDK)
            headers = {"Content-Type": kind, "Content-Length": str(upload.file.size), "Overwrite": "t"}
            connection.request(method, url.path, _pieces(upload, job.work, progress), headers)
            answer = connection.getresponse()
            text = answer.read(500).decode(errors="replace")
        finally:
            connection.close()
    if answer.status not in CREATED:
        raise VSphereError(f"vSphere did not take the file {name}", why=f"{answer.status} {answer.reason}: {text}")


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


def _pieces(upload: LeaseUpload, work: WorkContext, progress: UploadProgress) -> Iterator[bytes]:
    done = upload.before
    for piece in upload.file.pieces():
        work.cancel.check()
        yield piece
        done += len(piece)
        progress.percent = min(99, done * 100 // max(1, upload.total))
        work.progress("upload", done, upload.total)
