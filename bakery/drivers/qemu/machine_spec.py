"""What an image or a checkpoint must remember of a machine, so that it can be started again."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import uuid4

from bakery.disk.qemuimg import Compression
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A virtual machine without its disks. As JSON it is the `settings` of an artifact; every entry has a default.

    Args:
        memory: bytes.
        cpus: processors.
        firmware: `bios` or `uefi`.
        machine: QEMU's machine type.
        disk_bus: how the disk is attached.
        nic: QEMU's name for the network card.
        accel: what the user asked for.
        qemu_args: more words for QEMU.
        login: how the system inside takes keys: `credentials` or `nocloud`.
        user: who logs in.
        port: where its sshd listens.
        user_data: user data in place of ours.
        host_key: `given` or `console`.
        format: of the images made of it.
        compression: of those that are qcow2.
    """

    memory: int = 1 << 30
    cpus: int = 2
    firmware: str = "bios"
    machine: str = "q35"
    disk_bus: str = "virtio"
    nic: str = "virtio-net-pci"
    accel: str = "auto"
    qemu_args: tuple[str, ...] = ()
    login: str = "nocloud"
    user: str = "root"
    port: int = 22
    user_data: str = ""
    host_key: str = "given"
    format: str = "qcow2"
    compression: str = "zstd"

    @classmethod
    def of(cls, source: Qemu, login: str) -> MachineSpec:
        """Return the shape that a user asked for, with the way its base takes keys."""
        taken = {f.name: getattr(source, f.name) for f in fields(cls) if f.name not in {"memory", "login", "port"}}
        return cls(memory=source.memory_bytes, login=login, **taken)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "qemu_args": list(self.qemu_args)}


def compression(shape: MachineSpec) -> Compression:
    """Return how the images of a machine are compressed.

    Raises:
        DriverError: an artifact of somebody else's says something that we do not know.
    """
    match shape.compression:
        case "zstd" | "zlib" | "none":
            return shape.compression
    raise DriverError(f"images cannot be compressed by {shape.compression!r}", hint="zstd, zlib or none")


@dataclass(frozen=True, kw_only=True)
class MachineIdentity:
    """What a machine has had since it first booted, and keeps when it is restored from a checkpoint.

    Args:
        accel: what runs it: `kvm`, `hvf` or `tcg`.
        uuid: the system's UUID. systemd may make a machine-id of it, so that no two machines may share one.
        mac: of the network card. Not QEMU's usual one: an image that remembers it must fail in the smoke test.
        instance: cloud-init's instance id.
    """

    accel: str
    uuid: str
    mac: str
    instance: str

    @classmethod
    def new(cls, accel: str, instance: str) -> MachineIdentity:
        """Make a new one, left to chance within QEMU's own range of cards."""
        mac = "52:54:00:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))
        return cls(accel=accel, uuid=str(uuid4()), mac=mac, instance=instance)
