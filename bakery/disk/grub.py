"""GRUB for BIOS and for UEFI, written by offset.

The images are made by the GRUB *inside the tree*, so that they fit the modules beside them, and the host needs no GRUB.
Offsets are those of GRUB's own util/setup.c and include/grub/i386/pc/boot.h.
"""

from __future__ import annotations

import struct
from pathlib import Path

from bakery.disk.layout import SECTOR, Layout
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.tools import run

KERNEL_SECTOR = 0x5C
"""In boot.img: where the core image begins, 8 bytes, little endian."""
DRIVE_CHECK = 0x66
"""In boot.img: a jump that setup.c replaces on hard disks, because some BIOSes pass a wrong drive number."""
PARAMETERS = slice(0x03, 0x5A)
"""In a boot sector: the BIOS parameter block; GRUB leaves it to the disk."""
TABLE = 0x1B8
"""In a boot sector: disk signature and (protective) partition table begin here."""
NESTED = slice(0x1BE, 0x1FE)
"""In a boot sector: the four entries of an MBR partition table."""
BLOCKLIST = SECTOR - 12
"""In the first sector of core.img: start (8 bytes) and length (2) of the rest, in sectors."""

COMMON = (
    "part_gpt",
    "ext2",
    "fat",
    "normal",
    "search",
    "search_fs_uuid",
    "search_label",
    "configfile",
    "linux",
    "echo",
    "test",
    "boot",
    "ls",
    "cat",
    "minicmd",
    "reboot",
    "halt",
    "gzio",
    "loadenv",
    "true",
)
BIOS_MODULES = (*COMMON, "biosdisk")
EFI_MODULES = (*COMMON, "efi_gop", "chain", "efifwsetup")
ON_DISK = "/boot/grub"
EARLY = "early.cfg"


def early_config(layout: Layout) -> str:
    """Return what both images run first: find the root file system, and the rest of GRUB on it."""
    return f"search.fs_uuid {layout.uuid('root-fs')} root\nset prefix=($root){ON_DISK}\n"


def install(disk: Path, layout: Layout, tree: Path, folder: Path, work: WorkContext) -> None:
    """Make the disk start under BIOS and UEFI.

    Raises:
        DriverError: the tree has no GRUB, or its images do not fit.
    """
    (folder / EARLY).write_text(early_config(layout))
    core = _image(tree, "i386-pc", BIOS_MODULES, folder, work)
    boot = (tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    if len(core) > layout.bios.size:
        raise DriverError("GRUB's core image does not fit into its partition", why=f"it has {len(core)} bytes")
    with disk.open("r+b") as file:
        mbr = file.read(SECTOR)
        file.seek(0)
        file.write(boot_sector(boot, mbr, layout.bios.sector))
        file.seek(layout.bios.start)
        file.write(core_image(core, layout.bios.sector))
    loader = folder / "bootx64.efi"
    loader.write_bytes(_image(tree, "x86_64-efi", EFI_MODULES, folder, work))
    _esp(disk, layout, loader, work)


def boot_sector(boot: bytes, mbr: bytes, core_sector: int) -> bytes:
    """Return boot.img as the disk's first sector: it loads `core_sector`; the table of `mbr` stays."""
    if len(boot) != SECTOR or boot[-2:] != b"\x55\xaa":
        raise DriverError("this boot.img is not GRUB's boot sector", why=f"it has {len(boot)} bytes")
    sector = bytearray(boot)
    sector[PARAMETERS] = mbr[PARAMETERS]
    sector[TABLE:SECTOR] = mbr[TABLE:SECTOR]
    struct.pack_into("<Q", sector, KERNEL_SECTOR, core_sector)
    sector[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
    return bytes(sector)


def core_image(core: bytes, at_sector: int) -> bytes:
    """Return core.img as it must be at `at_sector`: its first sector knows where the rest is."""
    image = bytearray(core)
    _, length = struct.unpack_from("<QH", image, BLOCKLIST)
    rest = -(-len(core) // SECTOR) - 1
    if length != rest:
        raise DriverError("this core.img is not what we know", why=f"it loads {length} sectors and has {rest}")
    struct.pack_into("<Q", image, BLOCKLIST, at_sector + 1)
    return bytes(image)


def _image(tree: Path, target: str, modules: tuple[str, ...], folder: Path, work: WorkContext) -> bytes:
    # The tree's own program with the tree's own libraries; a chroot would need root, and the files in the tree.
    # /lib is a folder of its own in bullseye, and a link to /usr/lib since.
    base, more = (tree / place / "x86_64-linux-gnu" for place in ("lib", "usr/lib"))
    out = folder / target
    words: tuple[str | Path, ...] = (
        base / "ld-linux-x86-64.so.2",
        "--library-path",
        f"{base}:{more}",
        tree / "usr/bin/grub-mkimage",
        "--directory",
        tree / "usr/lib/grub" / target,
        "--format",
        target,
        "--prefix",
        ON_DISK,
        "--config",
        folder / EARLY,
        "--output",
        out,
        *modules,
    )
    hint = "the tree needs the packages grub-pc-bin and grub-efi-amd64-bin"
    run(words, work, what=f"making GRUB's image for {target}", hint=hint)
    return out.read_bytes()


def _esp(disk: Path, layout: Layout, loader: Path, work: WorkContext) -> None:
    place = f"{disk}@@{layout.esp.start}"
    size = str(layout.esp.size // SECTOR)
    serial = layout.uuid("esp").hex[:8]
    what, hint = "making the EFI system partition", "apt install mtools"
    words = (
        "mformat",
        "-i",
        place,
        "-F",
        "-T",
        size,
        "-h",
        "255",
        "-s",
        "63",
        "-H",
        str(layout.esp.sector),
        "-N",
        serial,
        "-v",
        "ESP",
        "::",
    )
    run(words, work, what=what, hint=hint)
    # mformat puts a partition table into the partition's own boot sector, and every grub-probe would warn about it.
    with disk.open("r+b") as file:
        file.seek(layout.esp.start + NESTED.start)
        file.write(bytes(NESTED.stop - NESTED.start))
    run(("mmd", "-i", place, "::EFI", "::EFI/BOOT"), work, what=what, hint=hint)
    run(("mcopy", "-i", place, loader, "::EFI/BOOT/BOOTX64.EFI"), work, what=what, hint=hint)
