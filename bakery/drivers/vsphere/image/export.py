"""From a machine that is off to an appliance on this host: vSphere's own OVF, a manifest and the disks in one OVA."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bakery.disk import image_files
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import refusal
from bakery.drivers.vsphere.image import capture
from bakery.drivers.vsphere.image.export_disks import ExportedFile, ExportJob, export_disks
from bakery.drivers.vsphere.machine import machines
from bakery.drivers.vsphere.machine.power import Shutdown
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.sparse_files import digest, disk_space

OVA: Final = "ova"
LARGEST_USTAR: Final = 8 << 30
"""Bytes from which on a member needs GNU's notation of its size: USTAR has eleven octal digits for it."""
READABLE: Final = 0o644


def export(center: VCenter, handle: Handle, name: str, claim: Claim) -> Artifact:
    """Power the machine off through its guest, take out what was for the build, and make an appliance of it.

    The machine itself stays what it was, and is destroyed with its own record.

    Raises:
        DriverError: the machine does not stop, vSphere refuses, or what arrives is damaged.
    """
    source = VSphere.from_settings(handle.settings["source"], base=None)
    machine = center.machine(handle.data["machine"])
    Shutdown(center, handle).wait(source, claim)
    capture.clean(center, machine, source, claim, handle.resource.key)

    def write(path: Path) -> str:
        with TemporaryDirectory(prefix="export-", dir=claim.folder) as folder:
            job = ExportJob(center=center, machine=machine, name=name, folder=Path(folder), claim=claim)
            files = export_disks(job)
            descriptor = describe(job, source, files)
            pack(path, name, descriptor, files, claim)
        return digest(path, "sha256", claim)

    store = machines.datastore(center, machine)  # where it is imported to be tested, unless the source says otherwise
    settings = {"source": source.settings(), **center.record, "datastore": store}
    image = image_files.make(write, name, format=OVA, settings=settings, claim=claim)
    return replace(image, driver=claim.driver)


def describe(job: ExportJob, source: VSphere, files: Iterable[ExportedFile]) -> str:
    """Let vSphere write the OVF of a machine, and return it; what it warns of is told.

    Args:
        job: whose.
        source: its notes are the appliance's, and its `extra_config` goes along.
        files: what was exported, which the OVF names.

    Raises:
        VSphereError: the machine cannot be described so.
    """
    vim = types.vim()
    wanted = vim.OvfManager.CreateDescriptorParams(
        name=job.name,
        description=source.notes,  # an empty one takes the machine's own away, which has marks of ours
        includeImageFiles=False,
        exportOption=["extraconfig"] if source.extra_config else [],
        ovfFiles=[
            vim.OvfManager.OvfFile(
                deviceId=file.key,
                path=file.path.name,
                size=file.size,
                capacity=file.capacity,
                populatedSize=file.populated,
            )
            for file in files
        ],
    )
    manager = job.center.content.ovfManager
    result = job.center.call("describe the machine as OVF", lambda: manager.CreateDescriptor(job.machine, wanted))
    for warning in result.warning or ():
        job.claim.notice(f"vSphere says of the OVF: {warning.msg}", warning=True)
    if result.error:
        raise refusal("describe the machine as OVF", result.error[0])
    return str(result.ovfDescriptor)


def pack(to: Path, name: str, descriptor: str, files: list[ExportedFile], work: WorkContext) -> None:
    """Write an OVA (DSP0243, section 5.2): the descriptor first, then its manifest, then the files.

    Args:
        to: the file to write.
        name: the appliance's.
        descriptor: its OVF.
        files: the disks, and what else it names.
        work: can cancel it, and is told how far it is.
    """
    text = descriptor.encode()
    digests = [(f"{name}.ovf", hashlib.sha256(text).hexdigest()), *((file.path.name, file.sha256) for file in files)]
    manifest = "".join(f"SHA256({file})= {value}\n" for file, value in digests).encode()
    large = any(file.size >= LARGEST_USTAR for file in files)
    form = tarfile.GNU_FORMAT if large else tarfile.USTAR_FORMAT
    total = sum(file.size for file in files)
    with disk_space(to.parent), tarfile.open(to, "w", format=form) as archive:
        for member, content in ((f"{name}.ovf", text), (f"{name}.mf", manifest)):
            archive.addfile(_member(member, len(content)), io.BytesIO(content))
        for one in files:
            with _Told(one.path, work, total) as file:
                archive.addfile(_member(one.path.name, one.size), file)
    to.chmod(READABLE)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, READABLE
    return member


class _Told(io.FileIO):
    """A file whose reading can be cancelled, and is told of.

    Args:
        path: of the file.
        work: can cancel it.
        total: bytes of all files.
    """

    def __init__(self, path: Path, work: WorkContext, total: int) -> None:
        super().__init__(path)
        self._work, self._total = work, total

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on."""
        self._work.cancel.check()
        piece = super().read(-1 if size is None else size)
        self._work.progress("pack", self.tell(), self._total)
        return piece
