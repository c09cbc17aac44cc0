"""What `Hardware(...)` asks for, as parts of the change that a machine's hardware gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bakery.drivers.vsphere.api import tasks, types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.drivers.vsphere.hardware_options import Hardware
from bakery.errors import PreflightError
from bakery.util.context import WorkContext

KIBIBYTE = 1 << 10
FIRST_CARD = -400
"""The key of the first network card that is added; those behind it count down."""
MANUAL, GENERATED = "manual", "generated"
PLAIN = {"cpu_hot_add": "cpuHotAddEnabled", "memory_hot_add": "memoryHotAddEnabled", "nested": "nestedHVEnabled"}


def add(options: Hardware, spec: Any, devices: list[Any]) -> None:
    """Add what is asked for to a change.

    Args:
        options: what is asked for.
        spec: the change: a `vim.vm.ConfigSpec`, with all network cards in it that are to be changed besides.
        devices: what the machine has.

    Raises:
        PreflightError: the machine has no such device.
    """
    vim = types.vim()
    for name, field in PLAIN.items():
        if (value := getattr(options, name)) is not None:
            setattr(spec, field, value)
    if options.cpu_limit is not None:
        spec.cpuAllocation = spec.cpuAllocation or vim.ResourceAllocationInfo()
        spec.cpuAllocation.limit = options.cpu_limit
    if options.vbs is not None or options.iommu is not None:
        spec.flags = vim.vm.FlagInfo(vbsEnabled=options.vbs, vvtdEnabled=options.iommu)
    if options.sync_time is not None or options.upgrade_tools is not None:
        policy = {True: "upgradeAtPowerCycle", False: "manual", None: None}[options.upgrade_tools]
        spec.tools = vim.vm.ToolsConfigInfo(syncTimeWithHost=options.sync_time, toolsUpgradePolicy=policy)
    if options.boots:
        spec.bootOptions = spec.bootOptions or vim.vm.BootOptions()
        spec.bootOptions.bootOrder = [one for word in options.boots for one in _bootable(word, devices)]
    spec.deviceChange = [*spec.deviceChange, *_video(options, devices), *_more_devices(options, devices)]
    _set_macs(options, spec, devices)


def _bootable(word: str, devices: list[Any]) -> list[Any]:
    """Return all devices of a kind in the order in which they are; a CD drive is one, however many there are."""
    vim = types.vim()
    device, boot = vim.vm.device, vim.vm.BootOptions
    kinds: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "disk": (device.VirtualDisk, lambda one: boot.BootableDiskDevice(deviceKey=one.key)),
        "network": (device.VirtualEthernetCard, lambda one: boot.BootableEthernetDevice(deviceKey=one.key)),
        "cdrom": (device.VirtualCdrom, lambda _: boot.BootableCdromDevice()),
        "floppy": (device.VirtualFloppy, lambda _: boot.BootableFloppyDevice()),
    }
    kind, make = kinds[word]
    found = [make(one) for one in devices if isinstance(one, kind)]
    if not found:
        raise PreflightError(f"Hardware(boot_order=...): the base has no {word} that it could boot from")
    return found if word in {"disk", "network"} else found[:1]


def _video(options: Hardware, devices: list[Any]) -> Iterator[Any]:
    vim = types.vim()
    if options.video_bytes is None and options.displays is None:
        return
    card = next((one for one in devices if isinstance(one, vim.vm.device.VirtualVideoCard)), None)
    if card is None:
        raise PreflightError("Hardware(video_memory=..., displays=...): the base has no video card")
    card.useAutoDetect = False
    if options.video_bytes is not None:
        card.videoRamSizeInKB = options.video_bytes // KIBIBYTE
    if options.displays is not None:
        card.numDisplays = options.displays
    yield vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)


def _more_devices(options: Hardware, devices: list[Any]) -> Iterator[Any]:
    """Yield the changes that add what the machine does not have yet."""
    vim = types.vim()
    kinds = vim.vm.device
    wanted: list[Any] = []
    if options.usb == "usb2":
        wanted.append(kinds.VirtualUSBController(key=-500, ehciEnabled=True))
    if options.usb == "usb3":
        wanted.append(kinds.VirtualUSBXHCIController(key=-501))
    if options.precision_clock is not None:
        backing = kinds.VirtualPrecisionClock.SystemClockBackingInfo(protocol=options.precision_clock)
        wanted.append(kinds.VirtualPrecisionClock(key=-502, backing=backing))
    present = {type(one) for one in devices}
    if options.vgpu is not None and options.vgpu not in _profiles(devices):
        backing = kinds.VirtualPCIPassthrough.VmiopBackingInfo(vgpu=options.vgpu)
        yield _adding(kinds.VirtualPCIPassthrough(key=-503, backing=backing))
    yield from (_adding(one) for one in wanted if type(one) not in present)


def _profiles(devices: Iterable[Any]) -> set[str]:
    return {str(profile) for one in devices if (profile := getattr(one.backing, "vgpu", None))}


def _adding(device: Any) -> Any:
    return types.vim().vm.device.VirtualDeviceSpec(operation="add", device=device)


def _set_macs(options: Hardware, spec: Any, devices: list[Any]) -> None:
    """Give the first cards their addresses: those that are changed anyhow as a part of that change."""
    vim = types.vim()
    kind = vim.vm.device.VirtualEthernetCard
    changes = [one for one in spec.deviceChange if isinstance(one.device, kind)]
    cards = dict(enumerate(one for one in devices if isinstance(one, kind)))
    # A card that is added, or takes the place of another, has its place in its key.
    cards |= {FIRST_CARD - one.device.key: one.device for one in changes if one.operation == "add"}
    if len(options.addresses) > len(cards):
        raise PreflightError(
            f"Hardware(macs=...): there are {len(options.addresses)} addresses for {len(cards)} network cards",
            hint="network=... adds cards",
        )
    edited = {one.device.key for one in changes}
    for number, address in enumerate(options.addresses):
        card = cards[number]
        card.addressType, card.macAddress = MANUAL, address
        if card.key not in edited:
            spec.deviceChange.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))


def without_macs(devices: Iterable[Any]) -> list[Any]:
    """Return the changes that take addresses away again that were given: what is cloned of the image gets new ones.

    Args:
        devices: what the machine has.
    """
    vim = types.vim()
    changes: list[Any] = []
    for card in devices:
        if isinstance(card, vim.vm.device.VirtualEthernetCard) and str(card.addressType).lower() == MANUAL:
            card.addressType, card.macAddress = GENERATED, ""
            changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    return changes


def level(version: Any) -> int:
    """Return the number of a hardware version: 19 of `vmx-19`; 0 where there is none."""
    text = str(version or "").rpartition("-")[2]
    return int(text) if text.isdigit() else 0


def check_version(options: Hardware, present: Any) -> None:
    """See that a machine's hardware is not newer than what is asked for.

    Raises:
        PreflightError: it is.
    """
    if options.version is not None and level(present) > options.version:
        raise PreflightError(
            f"Hardware(version={options.version}): the base has {present}", why="it can only go up", hint="leave it out"
        )


def upgrade(center: VCenter, machine: Any, options: Hardware, work: WorkContext) -> None:
    """Bring a machine that is off to the hardware version that is asked for.

    Args:
        center: where.
        machine: pyvmomi's reference to it.
        options: what is asked for.
        work: can cancel the wait.

    Raises:
        VSphereError: the host knows no such version.
    """
    if options.version is None:
        return
    wanted = f"vmx-{options.version:02}"
    if _version(center, machine) >= options.version:
        return
    what = f"bring the machine to {wanted}"
    try:
        tasks.run(center, what, lambda: machine.UpgradeVM_Task(wanted), work, timeout=tasks.CHANGING, repeat=True)
    except VSphereError:
        if _version(center, machine) < options.version:  # else an answer was lost, and asked again
            raise


def _version(center: VCenter, machine: Any) -> int:
    return level((center.properties(machine, "config.version") or {}).get("config.version"))
