"""What a user writes to build on a local virtual machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args, get_type_hints

from bakery.disk.partitions import Disk, Partition, refuse_twice
from bakery.drivers.shared import no_base
from bakery.drivers.shared.kinds import refuse_wrong_kinds
from bakery.errors import ImagefileError
from bakery.model import Problem, Source
from bakery.util.units import parse_size

SMALLEST_MEMORY = 64 << 20
MOST_DISKS = 4
"""Further ones: a SATA controller has six ports, and the seed takes one."""


def size(text: str | int | Disk, *, field: str) -> int:
    """Read a size in bytes: `512M`, `1.5G`, or a number of bytes.

    Args:
        text: K, M, G, T are powers of 1024; `GiB`, `GB` and lower case mean the same.
        field: what it is for, for messages.

    Raises:
        ImagefileError: it is no size, or none that something can have.
    """
    if isinstance(text, Disk):
        raise ImagefileError(
            f"{field}=Disk(...): this source takes a size alone", hint="partitions of one's own are for Qemu(...)"
        )
    try:
        number = parse_size(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ImagefileError(f"{field}={text!r} is not a size", hint='write it as "512M" or "2G"')
    return number


@dataclass(frozen=True, kw_only=True)
class Qemu(Source):
    """A virtual machine on this host.

    Args:
        base: what it boots first: `Debian(...)`, `CloudImage(...)`, an image of this file, an `Artifact`.
        memory: `"1G"`, `"512M"`, or bytes.
        cpus: processors that the guest sees.
        disk: size of its disk; the base's own size when not given. The base's size is the least. `Disk("40G",
            layout=[Partition(...)])` adds partitions of one's own behind the base's.
        disks: further disks, at most four, each empty or with partitions: `[Disk("10G", layout=[...])]`. The guest sees
            them as `disk2`, `disk3`, ..., their serial numbers. They are parts of the image, a file each.
        firmware: `bios` (SeaBIOS) or `uefi` (OVMF, without secure boot).
        machine: QEMU's machine type, `q35` or `pc`.
        disk_bus: how the disk is attached.
        nic: QEMU's name for the network card: `virtio-net-pci`, `e1000`, `e1000e`, `vmxnet3`, ...
        accel: `auto` uses what was seen to work on this host; `kvm` and `hvf` insist; `tcg` emulates.
        qemu_args: more words for QEMU's command line. They are visible to everybody on this host: no secrets.
        format: of the image: `qcow2` (compressed) or `raw` (sparse).
        compression: of qcow2 images: `zstd`, which QEMU 5.1 and newer read where they are built with it; `zlib`, which
            every QEMU reads; or `none`.
        user: who logs in. Debian bases take keys for root only.
        user_data: cloud-init user data to use as they stand, for bases that need others than ours.
        host_key: `given`: the machine takes the host key that bakery makes for it. `console`: it makes its own and
            prints it on the serial console, as cloud-init does, between `BEGIN SSH HOST KEY KEYS` and `END ...`.
    """

    driver: ClassVar[str] = "qemu"
    takes_login: ClassVar[bool] = True
    takes_nodes: ClassVar[bool] = True
    memory: str | int = "1G"
    cpus: int = 2
    disk: str | int | Disk | None = None
    disks: tuple[Disk, ...] = ()
    firmware: Literal["bios", "uefi"] = "bios"
    machine: Literal["q35", "pc"] = "q35"
    disk_bus: Literal["virtio", "scsi", "sata", "nvme"] = "virtio"
    nic: str = "virtio-net-pci"
    accel: Literal["auto", "kvm", "hvf", "tcg"] = "auto"
    qemu_args: tuple[str, ...] = ()
    format: Literal["qcow2", "raw"] = "qcow2"
    compression: Literal["zstd", "zlib", "none"] = "zstd"
    user: str = "root"
    user_data: str | bytes = ""
    host_key: Literal["given", "console"] = "given"

    def __post_init__(self) -> None:
        """Refuse values that QEMU would refuse later.

        Raises:
            ImagefileError: with the values that are allowed.
        """
        refuse_wrong_kinds(self)
        object.__setattr__(self, "qemu_args", _words(self.qemu_args))
        if self.user_data:
            from bakery.drivers.user_data import text_of

            object.__setattr__(self, "user_data", text_of(self.user_data))
        for name, allowed in _choices().items():
            value = getattr(self, name)
            if value not in allowed:
                shown = ", ".join(map(repr, allowed))
                raise ImagefileError(f"Qemu({name}={value!r}): no such choice", hint=f"one of {shown}")
        if self.cpus < 1:
            raise ImagefileError(f"Qemu(cpus={self.cpus}): a machine needs a processor", hint="cpus=1 or more")
        if self.memory_bytes < SMALLEST_MEMORY:
            raise ImagefileError(
                f"Qemu(memory={self.memory!r}): too little to boot", hint='at least "64M"; "1G" is usual'
            )
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", self.nic):
            raise ImagefileError(f"Qemu(nic={self.nic!r}): not the name of a network card", hint='"virtio-net-pci"')
        _ = self.disk_bytes
        object.__setattr__(self, "disks", _disks(self.disks))
        refuse_twice([*self.layout, *(part for disk in self.disks for part in disk.layout)])

    def mistakes(self) -> Iterator[Problem]:
        """Yield why the base is none, or none for this firmware."""
        yield from no_base.mistakes("Qemu", self.base, self.firmware)

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return size(self.memory, field="memory")

    @property
    def disk_bytes(self) -> int:
        """The disk's size in bytes; 0 for the base's own."""
        if isinstance(self.disk, Disk):
            return self.disk.bytes
        return 0 if self.disk is None else size(self.disk, field="disk")

    @property
    def layout(self) -> tuple[Partition, ...]:
        """The partitions behind those of the base."""
        return tuple(self.disk.layout) if isinstance(self.disk, Disk) else ()


def _disks(given: Any) -> tuple[Disk, ...]:
    """Return the further disks; a single one in place of a list is a likely slip."""
    disks: tuple[Any, ...] = tuple(given) if isinstance(given, list | tuple) else (None,)
    if not all(isinstance(disk, Disk) for disk in disks):
        raise ImagefileError(f"Qemu(disks={given!r}): not a list of disks", hint='disks=[Disk("10G")]')
    if len(disks) > MOST_DISKS:
        raise ImagefileError(f"Qemu(disks=...): {len(disks)} further disks", hint=f"at most {MOST_DISKS}")
    return disks


def _words(value: Any) -> tuple[str, ...]:
    """Return the extra words; a single text in place of a list is a likely slip, and would become single letters."""
    if isinstance(value, str):
        raise ImagefileError(
            f"Qemu(qemu_args={value!r}): a list of words is needed", hint='qemu_args=["-device", "..."]'
        )
    return tuple(str(word) for word in value)


def _choices() -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(Qemu)
    named = {field.name: get_args(hints[field.name]) for field in fields(Qemu)}
    return {name: allowed for name, allowed in named.items() if allowed and all(isinstance(a, str) for a in allowed)}
