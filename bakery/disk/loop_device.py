"""A loop device of a plain file that is let go of by itself: with its last user, however that one ends.

`mount -o loop` does nearly the same, but it wants the file system to be in the file already, and the kernel then
writes the whole file to the disk first, which takes seconds for one of thousands of small parts.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from errno import EBUSY
from pathlib import Path
from typing import Final

CONTROL: Final = Path("/dev/loop-control")
GET_FREE: Final = 0x4C82
CONFIGURE: Final = 0x4C0A
"""Linux 5.8 has it; the older way leaves the device behind when its user is killed in the middle."""
AUTOCLEAR: Final = 4
CONFIG: Final = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
"""`struct loop_config` of linux/loop.h."""
ATTEMPTS: Final = 100


@contextmanager
def attached(file: Path) -> Generator[int]:
    """Yield an open loop device whose content is `file`, while the block runs.

    The device stays for as long as somebody has it open or mounted, and not longer.

    Args:
        file: a file of the size that the device shall have.

    Raises:
        OSError: there is no free loop device, or we may not use one.
    """
    with file.open("r+b") as opened:
        device = _configured(opened.fileno(), file.name)
    try:
        yield device
    finally:
        os.close(device)


def path_of(device: int) -> Path:
    """Return the path of an open device."""
    return Path(f"/proc/self/fd/{device}").readlink()


def _configured(file: int, name: str) -> int:
    config = CONFIG.pack(
        *(file, 0), *(0, 0, 0, 0, 0), *(0, 0, 0, AUTOCLEAR), *(os.fsencode(name)[:63], b"", b""), *(0, 0), *[0] * 8
    )
    with CONTROL.open("r+b", buffering=0) as control:
        for _ in range(ATTEMPTS):
            device = os.open(f"/dev/loop{fcntl.ioctl(control, GET_FREE)}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno == EBUSY:  # somebody else was quicker
                    continue
                raise
            return device
    raise OSError(EBUSY, os.strerror(EBUSY), str(CONTROL))
