"""A local disk into the inventory: an OVF is announced, and its disk uploaded under a lease that is kept alive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bakery.drivers.shared.ovf_package import PackageFile
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, refusal, translate_errors
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.drivers.vsphere.image import lease as leases
from bakery.drivers.vsphere.image.lease import LeaseProgress
from bakery.errors import DriverError
from bakery.util.context import WorkContext

IMPORT = "import"
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
    info = leases.ready(center, lease, IMPORT, work)
    machine = info.entity  # a lease that is complete is gone, and knows nothing any more
    with leases.finished_or_aborted(center, lease, IMPORT):
        uploads = list(_uploads(result, info, files))
        with leases.kept_alive(center, lease, IMPORT, sum(one.file.size for one in uploads)) as progress:
            for upload in uploads:
                _upload(job, upload, progress, timeout)
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


@dataclass(frozen=True, kw_only=True)
class LeaseUpload:
    """A file, and where a lease takes it.

    Args:
        file: of the package.
        target: the lease's address for it.
        new: it is no disk that the import has made already, but a file of its own.
    """

    file: PackageFile
    target: Any
    new: bool


def _uploads(result: Any, info: Any, files: Mapping[str, PackageFile]) -> Iterator[LeaseUpload]:
    """Yield what is to be sent where: vSphere says which file is which device, and the lease where each goes."""
    targets = {str(target.importKey): target for target in info.deviceUrl or ()}
    items = list(result.fileItem or ())
    missing = [str(item.path) for item in items if str(item.path) not in files]
    if missing:
        raise DriverError("the machine cannot be imported", why=f"there is no {', '.join(missing)}")
    for item in items:
        file, target = files[str(item.path)], targets.get(str(item.deviceId))
        if target is None:
            raise DriverError(f"vSphere takes no {file.name} for the machine", why="its lease names no address for it")
        yield LeaseUpload(file=file, target=target, new=bool(item.create))


def _upload(job: ImportJob, upload: LeaseUpload, progress: LeaseProgress, timeout: float) -> None:
    name = upload.file.name
    with translate_errors(f"take the file {name}"):
        connection, path = leases.open_address(job.center, upload.target)
        try:
            connection.timeout = min(leases.PATIENCE, timeout)
            method, kind = ("PUT", PLAIN) if upload.new else ("POST", VMDK)
            headers = {"Content-Type": kind, "Content-Length": str(upload.file.size), "Overwrite": "t"}
            connection.request(method, path, _pieces(upload, job.work, progress), headers)
            answer = connection.getresponse()
            text = answer.read(500).decode(errors="replace")
        finally:
            connection.close()
    if answer.status not in CREATED:
        raise VSphereError(f"vSphere did not take the file {name}", why=f"{answer.status} {answer.reason}: {text}")


def _pieces(upload: LeaseUpload, work: WorkContext, progress: LeaseProgress) -> Iterator[bytes]:
    for piece in upload.file.pieces():
        work.cancel.check()
        yield piece
        progress.done += len(piece)
        work.progress("upload", progress.done, progress.total)
