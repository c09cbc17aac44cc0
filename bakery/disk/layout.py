"""Where everything is on a disk: GPT BIOS boot partition, EFI system partition, and the root last, so that it grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from bakery.util.context import WorkContext
from bakery.util.tools import run

SECTOR = 512
MIB = 1 << 20
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
"""Partition types of the Discoverable Partitions Specification: systemd-repart finds the root to grow by its type."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One partition.

    Args:
        number: its number in the table. Root is 1 and the others 14 and 15, as in Debian's cloud images.
        start: bytes from the start of the disk.
        size: bytes.
        kind: GPT type.
        name: GPT name.
    """

    number: int
    start: int
    size: int
    kind: str
    name: str

    @property
    def sector(self) -> int:
        """First sector."""
        return self.start // SECTOR


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A disk of `size` bytes, and the identity of everything on it.

    Args:
        size: bytes; a multiple of 1 MiB.
        identity: what all UUIDs on the disk are derived from.
    """

    size: int
    identity: UUID

    @property
    def bios(self) -> Part:
        """For GRUB's core image: BIOS firmware loads it from here."""
        return Part(number=14, start=1 * MIB, size=3 * MIB, kind=BIOS_BOOT, name="bios")

    @property
    def esp(self) -> Part:
        """For UEFI firmware. FAT32 begins to be valid at 33 MiB."""
        return Part(number=15, start=4 * MIB, size=60 * MIB, kind=ESP, name="esp")

    @property
    def root(self) -> Part:
        """Everything else, but the last MiB, where the second copy of the table is."""
        return Part(number=1, start=64 * MIB, size=self.size - 65 * MIB, kind=ROOT_X86_64, name="root")

    def uuid(self, what: str) -> UUID:
        """Return the UUID of one thing on this disk."""
        return uuid5(self.identity, what)

    def script(self) -> str:
        """Return the table as sfdisk reads it."""
        head = f"label: gpt\nlabel-id: {self.uuid('disk')}\nunit: sectors\n"
        parts = (
            f"{part.number} : start={part.sector}, size={part.size // SECTOR}, type={part.kind}, "
            f'uuid={self.uuid(part.name)}, name="{part.name}"\n'
            for part in (self.root, self.bios, self.esp)
        )
        return head + "".join(parts)


def partition(disk: Path, layout: Layout, folder: Path, work: WorkContext) -> None:
    """Make `disk` an empty sparse file with that partition table. Needs no root and no loop device.

    Raises:
        DriverError: sfdisk refuses.
    """
    with disk.open("wb") as file:
        file.truncate(layout.size)
    script = folder / "table"
    script.write_text(layout.script())
    words = ("sfdisk", "--quiet", "--no-tell-kernel", "--no-reread", disk)
    run(words, work, what="writing the partition table", stdin=script, hint="apt install fdisk")
