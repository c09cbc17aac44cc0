"""What users return from `@bakery.source` to build in a container on this host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from bakery.disk.bases.base import BaseTree
from bakery.drivers.qemu.machine_spec import MachineSpec
from bakery.drivers.qemu.source import Qemu, size
from bakery.drivers.shared import no_base
from bakery.errors import ImagefileError
from bakery.model import Problem, Source
from bakery.util.context import WorkContext

SMALLEST_DISK = 128 << 20
"""Bytes. What lies beside the root file system takes half of it."""


@runtime_checkable
class Rooted(Protocol):
    """A base that can be had as a file tree."""

    def check(self) -> Iterator[Problem]:
        """Yield what would stop `tree`."""
        ...

    def tree(self, work: WorkContext) -> BaseTree:
        """Make the tree or find it in the cache."""
        ...


@dataclass(frozen=True, kw_only=True)
class Nspawn(Source):
    """A container on this host: its tasks run at native speed, the image is a bootable disk all the same.

    The machine is a booted systemd-nspawn container: systemd, services, timers and users are there as on a machine.
    The image it makes is a disk like that of `Qemu`, and the smoke tests boot that disk in QEMU.

    Args:
        base: an operating system as a file tree: `Debian(...)`.
        disk: size of the image's disk, `"8G"`; blocks that hold nothing take no room.
        format: `qcow2` or `raw`.
        compression: of qcow2 images: `zstd`, `zlib` or `none`, as in `Qemu`.
        user: who tasks run as when they do not say; only root can log in to a container.
        memory: of the QEMU machine that the smoke tests boot.
        cpus: of the same.
        firmware: of the same: `bios` or `uefi`; the disk boots with both.
        accel: of the same: `auto`, `kvm`, `tcg`, `hvf`.

    Raises:
        ImagefileError: a value is not one of those that exist.
    """

    driver: ClassVar[str] = "nspawn"
    takes_login: ClassVar[bool] = True
    takes_nodes: ClassVar[bool] = True
    base: Any
    disk: str | int = "8G"
    format: Literal["qcow2", "raw"] = "qcow2"
    compression: Literal["zstd", "zlib", "none"] = "zstd"
    user: str = "root"
    memory: str | int = "1G"
    cpus: int = 2
    firmware: Literal["bios", "uefi"] = "bios"
    accel: Literal["auto", "kvm", "hvf", "tcg"] = "auto"

    def __post_init__(self) -> None:
        """Refuse what can only be a mistake, before anything is made.

        Raises:
            ImagefileError: with the values that are allowed.
        """
        if self.user != "root":
            raise ImagefileError(
                f"Nspawn(user={self.user!r}): only root can enter a container",
                hint='leave `user` out; a task can still run as somebody else: @bakery.task(user="app")',
            )
        _ = self._machine  # refuses what the smoke tests' machine cannot be
        if self.disk_bytes < SMALLEST_DISK:
            raise ImagefileError(f"Nspawn(disk={self.disk!r}): too small for any system", hint='"8G" is usual')

    def mistakes(self) -> Iterator[Problem]:
        """Yield why the base is none, or none for this firmware."""
        yield from no_base.mistakes("Nspawn", self.base, self.firmware)

    @property
    def disk_bytes(self) -> int:
        """The size of the image's disk in bytes."""
        return size(self.disk, field="disk")

    def shape(self, login: str) -> MachineSpec:
        """Return the virtual machine that boots the image.

        Args:
            login: how the base takes keys: `credentials` or `nocloud`.
        """
        return MachineSpec.of(self._machine, login)

    @property
    def _machine(self) -> Qemu:
        return Qemu(
            base=self.base,
            memory=self.memory,
            cpus=self.cpus,
            disk=self.disk,
            firmware=self.firmware,
            accel=self.accel,
            format=self.format,
            compression=self.compression,
        )
