"""Systemd credentials in a machine's firmware: the two OEM strings (SMBIOS type 11) that VirtualBox lets users set.

How much they hold is from VirtualBox's DevFwCommon.cpp, and the same in the program 7.2.22. A machine with more does
not start ("One of the DMI strings is too long"), so it is refused before.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from bakery.errors import ImagefileError

STRINGS = ("DmiOEMVBoxVer", "DmiOEMVBoxRev")
"""VirtualBox's names for the two strings."""
LONGEST = 255
"""Bytes of one string: VirtualBox reads it into a buffer of 256."""
ROOM = 320
"""Bytes of both: VirtualBox's whole table has 768, of which its other entries take 425 where they are as by default."""
_NAME = re.compile(r"[A-Za-z0-9_.@:~-]+")
_PLAIN = re.compile(r"[ -;=-~]*")
"""Text that stands in the table as it is: without `<`, as VirtualBox replaces `<DmiSystemUuid>` and `<EMPTY>` in it."""


def oem_strings(credentials: Mapping[str, str]) -> list[str]:
    """Return the strings that systemd (252 or newer) reads credentials from.

    Args:
        credentials: texts by name, as in `{"system.hostname": "web"}`.

    Raises:
        ImagefileError: a name is none, or VirtualBox has no room for them.
    """
    if odd := [name for name in credentials if not _NAME.fullmatch(name)]:
        raise _wrong(f"{odd}", "no name of a systemd credential", 'one such as "system.hostname"')
    if len(credentials) > len(STRINGS):
        raise _wrong(f"{list(credentials)}", f"VirtualBox's firmware has room for {len(STRINGS)}", _ELSE)
    strings = [_string(name, text) for name, text in credentials.items()]
    for name, string in zip(credentials, strings, strict=True):
        if len(string) > LONGEST:
            raise _wrong(f"{{{name!r}: ...}}", f"{len(string)} bytes, where VirtualBox reads {LONGEST}", _ELSE)
    if (together := sum(map(len, strings))) > ROOM:
        raise _wrong(f"{list(credentials)}", f"{together} bytes in all, where VirtualBox has room for {ROOM}", _ELSE)
    return strings


_ELSE = "what is longer is written by a task"


def extra_data(credentials: Mapping[str, str], firmware: str) -> dict[str, str]:
    """Return the entries of extra data that put credentials into a machine's firmware.

    Args:
        credentials: as for `oem_strings`.
        firmware: VirtualBox's word for the machine's, as `showvminfo` says it: `BIOS`, or `EFI` and its kinds.
    """
    return dict(zip(keys(firmware), oem_strings(credentials), strict=False))


def keys(firmware: str) -> list[str]:
    """Return the names of the entries that hold the strings of a machine's firmware."""
    device = "pcbios" if firmware.upper() == "BIOS" else "efi"
    return [f"VBoxInternal/Devices/{device}/0/Config/{name}" for name in STRINGS]


def fits(strings: Sequence[str]) -> bool:
    """Say whether VirtualBox has room for these strings; else it starts no machine with them."""
    return all(len(text) <= LONGEST for text in strings) and sum(map(len, strings)) <= ROOM


def _string(name: str, text: str) -> str:
    """Return one credential as systemd reads it; what is not plain text is coded."""
    if _PLAIN.fullmatch(text):
        return f"io.systemd.credential:{name}={text}"
    return f"io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"


def _wrong(given: str, what: str, hint: str) -> ImagefileError:
    return ImagefileError(f"VirtualBox(credentials={given}): {what}", hint=hint)
