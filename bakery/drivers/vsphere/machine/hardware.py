"""Hardware as a change of a clone that is off: what the source asks for, over what the base has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bakery.drivers.qemu.source import size
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.drivers.vsphere.machine import more_hardware
from bakery.drivers.vsphere.machine.more_hardware import FIRST_CARD
from bakery.drivers.vsphere.options import ExtraDisk
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import PreflightError

MEBIBYTE = 1 << 20
CONTROLLERS = {
    "pvscsi": "ParaVirtualSCSIController",
    "lsilogic": "VirtualLsiLogicController",
    "sata": "VirtualAHCIController",
    "nvme": "VirtualNVMEController",
}
UNITS = {"pvscsi": 16, "lsilogic": 16, "sata": 30, "nvme": 15}
"""Places that a controller has."""
SCSI_ITSELF = 7
NICS = {"vmxnet3": "VirtualVmxnet3", "e1000e": "VirtualE1000e", "e1000": "VirtualE1000"}


def config(source: VSphere, networks: Iterable[Any], devices: list[Any]) -> Any:
    """Return the change that gives a machine what its source asks for.

    Args:
        source: what the user asked for.
        networks: backings of the first network cards, from `backing`.
        devices: what the machine has.

    Raises:
        PreflightError: its disk is larger than asked for.
    """
    vim = types.vim()
    changes = [*_first_disk(source, devices), *_more_disks(source, devices), *_cards(source, list(networks), devices)]
    if source.tpm and not _has(devices, vim.vm.device.VirtualTPM):
        changes.append(_add(vim.vm.device.VirtualTPM(key=-300)))
    spec = vim.vm.ConfigSpec(deviceChange=changes)
    simple = {
        "numCPUs": source.cpus,
        "numCoresPerSocket": source.cores_per_socket,
        "memoryMB": source.memory_bytes // MEBIBYTE if source.memory_bytes else None,
        "firmware": source.firmware,
        "guestId": source.guest_id,
    }
    for name, value in simple.items():
        if value is not None:
            setattr(spec, name, value)
    if source.secure_boot is not None:
        spec.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=source.secure_boot)
    if source.cpu_reservation is not None:
        spec.cpuAllocation = vim.ResourceAllocationInfo(reservation=source.cpu_reservation)
    if source.memory_reservation == "all":
        spec.memoryReservationLockedToMax = True
    elif source.memory_reservation is not None:
        reserved = size(source.memory_reservation, field="memory_reservation") // MEBIBYTE
        spec.memoryAllocation = vim.ResourceAllocationInfo(reservation=reserved)
    spec.extraConfig = options(source.extra_config)
    more_hardware.add(source.hardware, spec, devices)
    return spec


def repeatable(spec: Any) -> bool:
    """Say whether a change may be made twice: not where it adds something each time."""
    return all(change.operation != "add" for change in spec.deviceChange)


def options(values: Any) -> list[Any]:
    """Return settings of a machine as vSphere takes them; an empty text takes one away."""
    vim = types.vim()
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def backing(center: VCenter, network: Entity) -> Any:
    """Return what joins a network card to a network: a standard one, a distributed port group, or NSX's.

    Raises:
        PreflightError: no card can be joined to it.
    """
    vim = types.vim()
    card = vim.vm.device.VirtualEthernetCard
    if isinstance(network.ref, vim.dvs.DistributedVirtualPortgroup):
        switch = _must_have(center, network, network.ref, "config.distributedVirtualSwitch")
        uuid = _must_have(center, network, switch, "uuid")
        key = _must_have(center, network, network.ref, "key")
        return card.DistributedVirtualPortBackingInfo(port=vim.dvs.PortConnection(portgroupKey=key, switchUuid=uuid))
    if isinstance(network.ref, vim.OpaqueNetwork):
        summary = _must_have(center, network, network.ref, "summary")
        return card.OpaqueNetworkBackingInfo(
            opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType
        )
    return card.NetworkBackingInfo(deviceName=network.name, network=network.ref)


def _must_have(center: VCenter, network: Entity, thing: Any, path: str) -> Any:
    values = center.properties(thing, path) or {}
    if path not in values:
        raise PreflightError(f"no card can be joined to the network {network.path}", why=f"it has no {path}")
    return values[path]


def disks(devices: Iterable[Any]) -> list[Any]:
    """Return the disks of a machine, in the order of their keys."""
    vim = types.vim()
    return sorted((one for one in devices if isinstance(one, vim.vm.device.VirtualDisk)), key=lambda disk: disk.key)


def _has(devices: Iterable[Any], kind: Any) -> bool:
    return any(isinstance(device, kind) for device in devices)


def _add(device: Any, *, file: bool = False) -> Any:
    vim = types.vim()
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=device)
    if file:
        change.fileOperation = "create"
    return change


def _first_disk(source: VSphere, devices: list[Any]) -> Iterator[Any]:
    vim = types.vim()
    if source.disk_bytes is None:
        return
    known = disks(devices)
    if not known:
        raise PreflightError("the base has no disk that disk=... could make larger")
    first, kilobytes = known[0], source.disk_bytes // 1024
    if kilobytes < first.capacityInKB:
        raise PreflightError(
            f"disk={source.disk!r} is less than the base's disk has",
            why=f"it has {first.capacityInKB >> 20} GiB, and a disk cannot be made smaller",
        )
    if kilobytes > first.capacityInKB:
        first.capacityInKB = kilobytes
        first.capacityInBytes = source.disk_bytes
        yield vim.vm.device.VirtualDeviceSpec(operation="edit", device=first)


def _more_disks(source: VSphere, devices: list[Any]) -> Iterator[Any]:
    """Yield the changes for more disks, and for the controllers that they need."""
    present = list(devices)
    for number, wanted in enumerate(source.disks):
        controller, unit = _room(present, wanted)
        if controller is None:
            controller, unit = _controller(wanted, present, -100 - number), 0
            present.append(controller)
            yield _add(controller)
        disk = _disk(wanted, -200 - number, controller.key, unit)
        present.append(disk)
        yield _add(disk, file=True)


def _room(present: list[Any], wanted: ExtraDisk) -> tuple[Any, int]:
    """Return a controller of the wanted kind that has room, and the free place; or None."""
    vim = types.vim()
    kind = getattr(vim.vm.device, CONTROLLERS[wanted.controller])
    for controller in present:
        if not isinstance(controller, kind):
            continue
        taken = {device.unitNumber for device in present if device.controllerKey == controller.key}
        if isinstance(controller, vim.vm.device.VirtualSCSIController):
            taken.add(SCSI_ITSELF)
        free = next((unit for unit in range(UNITS[wanted.controller]) if unit not in taken), None)
        if free is not None:
            return controller, free
    return None, 0


def _controller(wanted: ExtraDisk, present: list[Any], key: int) -> Any:
    vim = types.vim()
    kind = getattr(vim.vm.device, CONTROLLERS[wanted.controller])
    family = vim.vm.device.VirtualSCSIController if issubclass(kind, vim.vm.device.VirtualSCSIController) else kind
    buses = {device.busNumber for device in present if isinstance(device, family)}
    bus = next(number for number in range(len(buses) + 1) if number not in buses)
    controller = kind(key=key, busNumber=bus)
    if family is vim.vm.device.VirtualSCSIController:
        controller.sharedBus = "noSharing"
    return controller


def _disk(wanted: ExtraDisk, key: int, controller: int, unit: int) -> Any:
    vim = types.vim()
    # vCenter gives the file a name of its own where none is said.
    file = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName="", diskMode="persistent", thinProvisioned=wanted.thin, eagerlyScrub=wanted.eager or None
    )
    return vim.vm.device.VirtualDisk(
        key=key, controllerKey=controller, unitNumber=unit, capacityInKB=wanted.bytes // 1024, backing=file
    )


def _cards(source: VSphere, networks: list[Any], devices: list[Any]) -> Iterator[Any]:
    """Yield the changes that join cards to networks, replace cards of another kind, and add missing ones."""
    vim = types.vim()
    present = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    kind = getattr(vim.vm.device, NICS[source.nic]) if source.nic else None
    for number, card in enumerate(present):
        wanted = networks[number] if number < len(networks) else None
        if kind is not None and not isinstance(card, kind):
            yield vim.vm.device.VirtualDeviceSpec(operation="remove", device=card)
            yield _add(_card(kind, FIRST_CARD - number, wanted if wanted is not None else card.backing))
        elif wanted is not None:
            card.backing = wanted
            card.connectable = _connected()
            yield vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    for number in range(len(present), len(networks)):
        yield _add(_card(kind or vim.vm.device.VirtualVmxnet3, FIRST_CARD - number, networks[number]))


def _card(kind: Any, key: int, joined: Any) -> Any:
    return kind(key=key, backing=joined, connectable=_connected(), addressType="generated")


def _connected() -> Any:
    vim = types.vim()
    return vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=False)
