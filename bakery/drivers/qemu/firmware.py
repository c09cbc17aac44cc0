"""UEFI firmware: where distributions put OVMF."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bakery.errors import DriverError

PLACES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),  # the same, older
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),  # SUSE
)


@dataclass(frozen=True)
class Firmware:
    """UEFI firmware: the code, and an empty store for its variables that each machine copies."""

    code: Path
    variables: Path


def candidates(qemu: str) -> Iterator[Firmware]:
    """Yield where OVMF may be; QEMU's own copy, as Homebrew installs it, comes last."""
    yield from (Firmware(Path(code), Path(variables)) for code, variables in PLACES)
    binary = shutil.which(qemu)
    if binary:
        share = Path(binary).resolve().parent.parent / "share" / "qemu"
        yield Firmware(share / "edk2-x86_64-code.fd", share / "edk2-i386-vars.fd")


def find(qemu: str) -> Firmware:
    """Find OVMF.

    Raises:
        DriverError: it is not installed.
    """
    for firmware in candidates(qemu):
        if firmware.code.is_file() and firmware.variables.is_file():
            return firmware
    raise DriverError("no UEFI firmware for virtual machines on this host", hint="apt install ovmf")
