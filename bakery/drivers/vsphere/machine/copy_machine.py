"""A machine as a copy of another's disks and settings, on a single ESXi host, which clones nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bakery.drivers.vsphere.api import datastore_files, marks, tasks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.datastore_files import DatastorePath
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.machine import machines
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.machine.machines import MACHINE
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import PreflightError
from bakery.model import Resource
from bakery.state.claim import Claim

CREATING: Final = 300.0
"""Seconds for making a machine of disks that are there."""
KEPT_SETTINGS = ("disk.EnableUUID",)
"""Settings of a machine that its copy has too; most others are what the host has noted."""
EFI = "efi"


@dataclass(frozen=True, kw_only=True, eq=False)
class CopyJob:
    """One machine's copy.

    Args:
        center: where.
        source: what the user asked for.
        claim: the right to make it.
        folder: of its files, which is made.
        datacenter: pyvmomi's reference to it.
    """

    center: VCenter
    source: VSphere
    claim: Claim
    folder: DatastorePath
    datacenter: Any


def copy_machine(center: VCenter, source: VSphere, base: CloneBase, where: Place, claim: Claim) -> tuple[Any, Resource]:
    """Copy a machine that is off, under the claim's name; the folder of its files is written down first.

    What the copy has of the other: processors, memory, firmware with its variables, controllers, disks, network cards.
    Everything else is as the host makes new machines.

    Args:
        center: where.
        source: what the user asked for.
        base: what is copied.
        where: the place of the copy.
        claim: the right to make it.

    Raises:
        PreflightError: it has a disk that cannot be copied so.
        VSphereError: refused.
    """
    config = config_of(center, base)
    own = DatastorePath.parse(str(config.files.vmPathName))
    store = where.datastore.name if where.datastore is not None else own.store
    job = CopyJob(
        center=center,
        source=source,
        claim=claim,
        folder=DatastorePath(store, claim.name),
        datacenter=where.datacenter.ref,
    )
    copies = dict(_copies(config, job))
    place = {"directory": str(job.folder), "datacenter": where.datacenter.moid}
    intent = claim.intend(MACHINE, claim.name, **place, **center.record)
    _make_folder(job)
    for disk, to in copies.values():
        _copy_disk(job, disk, to)
    spec = _spec(config, copies, job)
    machine = tasks.run_once(
        center,
        f"make a machine of the disks of {base.name}",
        lambda: where.machines.CreateVM_Task(config=spec, pool=where.pool),
        lambda: machines.called(center, claim.name),
        claim,
        timeout=CREATING,
    )
    resource = intent.made(moid(machine))
    if str(config.firmware) == EFI:
        _copy_variables(job, own)
    return machine, resource


def config_of(center: VCenter, base: CloneBase) -> Any:
    """Return a machine's settings.

    Raises:
        PreflightError: it is gone, or is to be copied at a snapshot.
    """
    if base.snapshot is not None:
        raise PreflightError(
            f"a single ESXi host cannot copy {base.name} at a snapshot", hint="base= names a machine that is off"
        )
    values = center.properties(base.ref, "config") or {}
    if "config" not in values:
        raise PreflightError(f"the base {base.name} is gone, or cannot be read")
    return values["config"]


def _copies(config: Any, job: CopyJob) -> Iterator[tuple[int, tuple[Any, DatastorePath]]]:
    """Yield each disk by its key, with the file that its copy gets."""
    vim = types.vim()
    disks = [one for one in config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk)]
    if not disks:
        raise PreflightError("the base has no disk that could be copied")
    for number, disk in enumerate(disks):
        if not isinstance(disk.backing, vim.vm.device.VirtualDisk.FlatVer2BackingInfo):
            kind = type(disk.backing).__name__.rpartition(".")[2]
            raise PreflightError("the base has a disk that cannot be copied", why=f"it is a {kind}")
        yield disk.key, (disk, job.folder.child(f"disk-{number}.vmdk"))


def _make_folder(job: CopyJob) -> None:
    center = job.center
    manager = center.content.fileManager
    try:
        center.call(
            f"make the folder {job.folder}",
            lambda: manager.MakeDirectory(name=str(job.folder), datacenter=job.datacenter),
        )
    except VSphereError as error:
        if fault_of(error) != "FileAlreadyExists":  # an answer was lost, and asked again
            raise


def _copy_disk(job: CopyJob, disk: Any, to: DatastorePath) -> None:
    vim = types.vim()
    manager = job.center.content.virtualDiskManager
    # Without this, an ESXi host makes a disk that takes all of its space, for an adapter of long ago.
    wanted = vim.VirtualDiskManager.VirtualDiskSpec(diskType="thin", adapterType="lsiLogic")
    file = str(disk.backing.fileName)
    tasks.run(
        job.center,
        f"copy {file}",
        lambda: manager.CopyVirtualDisk_Task(
            sourceName=file,
            sourceDatacenter=job.datacenter,
            destName=str(to),
            destDatacenter=job.datacenter,
            destSpec=wanted,
            force=True,
        ),
        job.claim,
        timeout=job.source.launch_timeout,
        repeat=True,
    )


def _copy_variables(job: CopyJob, own: DatastorePath) -> None:
    """Copy what the firmware remembers, such as which loader to start, over what the new machine has.

    A machine that has never run has none, and then there is nothing to remember.
    """
    manager = job.center.content.fileManager
    stem = own.path.rpartition("/")[2].removesuffix(".vmx")
    source, to = own.folder.child(f"{stem}.nvram"), job.folder.child(f"{job.claim.name}.nvram")
    try:
        tasks.run(
            job.center,
            f"copy {source}",
            lambda: manager.CopyDatastoreFile_Task(
                sourceName=str(source),
                sourceDatacenter=job.datacenter,
                destinationName=str(to),
                destinationDatacenter=job.datacenter,
                force=True,
            ),
            job.claim,
            timeout=CREATING,
            repeat=True,
        )
    except VSphereError as error:
        if fault_of(error) not in datastore_files.NOT_THERE:
            raise


def _spec(config: Any, copies: dict[int, tuple[Any, DatastorePath]], job: CopyJob) -> Any:
    vim, claim = types.vim(), job.claim
    secure = getattr(config.bootOptions, "efiSecureBootEnabled", None)
    known = {str(one.key): one.value for one in config.extraConfig or ()}
    return vim.vm.ConfigSpec(
        name=claim.name,
        annotation=marks.notes("", marks.temporary(claim, claim.name)),
        files=vim.vm.FileInfo(vmPathName=str(job.folder.child(f"{claim.name}.vmx"))),
        version=config.version,
        guestId=config.guestId,
        numCPUs=config.hardware.numCPU,
        numCoresPerSocket=config.hardware.numCoresPerSocket,
        memoryMB=config.hardware.memoryMB,
        firmware=config.firmware,
        bootOptions=vim.vm.BootOptions(efiSecureBootEnabled=secure) if secure is not None else None,
        extraConfig=[vim.option.OptionValue(key=key, value=known[key]) for key in KEPT_SETTINGS if key in known],
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="add", device=one) for one in _devices(config, copies)],
    )


def _devices(config: Any, copies: dict[int, tuple[Any, DatastorePath]]) -> Iterator[Any]:
    """Yield the devices of the copy; each host brings IDE controllers, a video card and their like by itself."""
    kinds = types.vim().vm.device
    brought = (kinds.VirtualSCSIController, kinds.VirtualAHCIController, kinds.VirtualNVMEController)
    for device in config.hardware.device:
        if isinstance(device, brought):
            made = type(device)(key=device.key, busNumber=device.busNumber)
            if isinstance(device, kinds.VirtualSCSIController):
                made.sharedBus = "noSharing"
            yield made
        elif device.key in copies:
            backing = kinds.VirtualDisk.FlatVer2BackingInfo(
                fileName=str(copies[device.key][1]), diskMode="persistent", thinProvisioned=True
            )
            yield kinds.VirtualDisk(
                key=device.key,
                controllerKey=device.controllerKey,
                unitNumber=device.unitNumber,
                capacityInKB=device.capacityInKB,
                backing=backing,
            )
        elif isinstance(device, kinds.VirtualEthernetCard):
            connected = kinds.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=False)
            yield type(device)(key=device.key, backing=device.backing, addressType="generated", connectable=connected)
