"""Telling by its first bytes whether a file is a disk image of any kind, without opening it as one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SIGNATURES: Final = (
    (0, b"QFI\xfb"),  # qcow2
    (0, b"KDMV"),  # VMDK
    (0, b"COWD"),  # VMDK of old ESX
    (0, b"# Disk DescriptorFile"),  # VMDK in parts
    (0, b"conectix"),  # VHD that grows
    (0, b"vhdxfile"),  # VHDX
    (64, b"\x7f\x10\xda\xbe"),  # VDI
    (510, b"\x55\xaa"),  # raw with a boot sector or a partition table
    (512, b"EFI PART"),  # GPT
    (536, b"LVM2"),
    (0, b"LUKS\xba\xbe"),
    (0, b"XFSB"),
    (0, b"hsqs"),  # squashfs
    (1080, b"\x53\xef"),  # ext2, ext3, ext4
    (32769, b"CD001"),  # ISO 9660
    (65600, b"_BHRfS_M"),  # btrfs
)
"""Offset and bytes, as file(1) knows them."""
VHD_FOOTER: Final = 512
"""Bytes before the end at which a VHD of fixed size has its mark."""
_TAR: Final = (257, b"ustar")
_TAR_NAME: Final = 100
"""Bytes at the beginning of an archive that name its first member; an appliance's is its descriptor (DSP0243)."""


def is_disk_image(path: Path) -> bool:
    """Say whether a file is a disk image, or empty.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(max(offset + len(mark) for offset, mark in SIGNATURES))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - VHD_FOOTER))
        footer = file.read(len(b"conectix"))
    if size == 0 or footer == b"conectix" or _is_appliance(head):
        return True
    return any(head[offset : offset + len(mark)] == mark for offset, mark in SIGNATURES)


def _is_appliance(head: bytes) -> bool:
    """Say whether a file begins as an OVA does."""
    at, mark = _TAR
    return head[at : at + len(mark)] == mark and head[:_TAR_NAME].rstrip(b"\0").endswith(b".ovf")
