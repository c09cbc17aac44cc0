"""QEMU's command line, as a pure function of a machine's shape and place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakery.drivers.qemu.firmware import Firmware
from bakery.drivers.qemu.layers import Layer, node
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec
from bakery.drivers.qemu.process import SERIAL, SOCKET, mark

QEMU = "qemu-system-x86_64"
SEED, VARIABLES, SCREEN = "seed.iso", "firmware-variables.fd", "vnc.sock"
LAN_PORT = "lan-port"
"""The slot of a q35 that a further network card is plugged into; on other machines there are free ones."""
DEVICE = "root"
"""QEMU's name for the disk as the guest sees it; the file behind it changes with each checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and on what a machine runs.

    Args:
        name: unique; `bakery-...`.
        folder: where QEMU runs; all files named here without a path are in it.
        layers: the disk's files, the lowest first.
        further: the same of each disk beside the first, by its name, which the guest sees as its serial number.
        seed: True when there is a seed disk.
        credentials: files with systemd credentials.
        firmware: UEFI firmware, or None for BIOS.
        restored: True when the machine waits for its memory from a checkpoint.
        networked: True when a card may be plugged in later.
    """

    name: str
    folder: Path
    layers: tuple[Layer, ...]
    further: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict[str, tuple[Layer, ...]])
    seed: bool = False
    credentials: tuple[str, ...] = ()
    firmware: Firmware | None = None
    restored: bool = False
    networked: bool = False


def command(shape: MachineSpec, identity: MachineIdentity, place: Placement) -> list[str]:
    """Return the words that start a machine."""
    words = [QEMU, "-name", mark(place.name), "-uuid", identity.uuid, "-nodefaults", "-no-user-config"]
    words += ["-machine", _machine(shape), *accelerator(identity.accel)]
    words += ["-m", f"{shape.memory >> 20}M", "-smp", str(shape.cpus)]
    words += ["-display", "none", "-vga", "std", "-vnc", f"unix:{SCREEN}"]
    words += ["-qmp", f"unix:{SOCKET},server=on,wait=off"]
    words += ["-chardev", f"file,id=serial,path={SERIAL}", "-serial", "chardev:serial"]
    # A machine that powers itself off stays, paused, until somebody has seen that it did, and how.
    words += ["-no-shutdown"]
    words += _network(shape, identity)
    if place.networked and shape.machine == "q35":  # whose own slots take nothing while it runs
        words += ["-device", f"pcie-root-port,id={LAN_PORT},chassis=1"]
    words += _disks(shape, place) + _firmware(place)
    # Entropy from the host; and word to the guest's kernel that it was restored, so that it mixes in fresh entropy.
    words += ["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]
    words += ["-device", "vmgenid,guid=auto"]
    for file in place.credentials:
        words += ["-smbios", f"type=11,path={file}"]
    if place.restored:
        words += ["-incoming", "defer"]
    return words + list(shape.qemu_args)


def accelerator(accel: str) -> list[str]:
    """Choose the processor: the host's own, or all that QEMU can emulate, with a thread for each."""
    if accel == "tcg":
        # Less what only costs time where it is emulated: a fifth level of page tables, virtual machines inside, and
        # "copying bytes is fast", on which Linux and the C library copy one at a time.
        return ["-accel", "tcg,thread=multi", "-cpu", "max,-la57,-svm,-erms,-fsrm"]
    return ["-accel", accel, "-cpu", "host"]


def _machine(shape: MachineSpec) -> str:
    """Without the controllers that a q35 has and nothing is attached to: a guest looks for disks on each of them."""
    if shape.machine != "q35":
        return shape.machine
    return "q35,smbus=off" + ("" if shape.disk_bus == "sata" else ",sata=off")


def _network(shape: MachineSpec, identity: MachineIdentity) -> list[str]:
    # Port 0: the kernel picks one that is free, and QEMU holds it from then on. No IPv6: QEMU would announce a route
    # that leads nowhere on hosts without it, and every download in the guest would try it first.
    user = f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:0-:{shape.port}"
    return ["-netdev", user, "-device", f"{shape.nic},netdev=net,mac={identity.mac}"]


def _disks(shape: MachineSpec, place: Placement) -> list[str]:
    words = ["-blockdev", _json(node(place.layers, "disk"))]
    if shape.disk_bus == "scsi":
        words += ["-device", "virtio-scsi-pci,id=scsi"]
    if shape.disk_bus == "sata" and shape.machine != "q35":  # q35 has one of its own, whose first port is ide.0
        words += ["-device", "ahci,id=sata"]
    # Where this host's disk is full, the guest's write fails. By default the guest would stand still, for ever.
    errors = "" if shape.disk_bus == "nvme" else ",werror=report,rerror=report"  # which NVMe always does
    words += ["-device", _device(shape, drive="disk", name=DEVICE, slot=0) + ",bootindex=0" + errors]
    if place.seed:
        # On the disk's bus: a guest that can boot from it has the driver. NVMe disks cannot be read-only.
        seed = {
            "driver": "raw",
            "node-name": SEED,
            "read-only": shape.disk_bus != "nvme",
            "file": {"driver": "file", "filename": str(place.folder / SEED)},
        }
        words += ["-blockdev", _json(seed), "-device", _device(shape, drive=SEED, name="seed", slot=1)]
    for slot, (name, layers) in enumerate(place.further.items(), 2):
        words += ["-blockdev", _json(node(layers, name)), "-device"]
        words.append(_device(shape, drive=name, name=name, slot=slot, serial=name) + errors)
    return words


def _device(shape: MachineSpec, *, drive: str, name: str, slot: int, serial: str = "") -> str:
    match shape.disk_bus:
        case "scsi":
            kind = "scsi-hd,bus=scsi.0"
        case "sata":
            kind = f"ide-hd,bus={'ide' if shape.machine == 'q35' else 'sata'}.{slot}"
        case "nvme":
            serial, kind = "", f"nvme,serial={serial or f'bakery{slot}'}"
        case _:
            kind = "virtio-blk-pci"
    return f"{kind},drive={drive},id={name}" + (f",serial={serial}" if serial else "")


def _firmware(place: Placement) -> list[str]:
    if place.firmware is None:
        return []
    code = f"if=pflash,format=raw,readonly=on,file={_escaped(place.firmware.code)}"
    return ["-drive", code, "-drive", f"if=pflash,format=raw,file={VARIABLES}"]


def _escaped(path: Path) -> str:
    """QEMU's option lists end at a comma, unless it is doubled."""
    return str(path).replace(",", ",,")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
