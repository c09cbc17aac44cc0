"""File attributes as chattr(1) sets them: read, written, and carried through an overlay's layers.

They are no extended attributes, so that `cp --archive`, `tar` and `mke2fs -d` lose them without a word.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

GET: Final = 0x80086601
"""linux/fs.h, `FS_IOC_GETFLAGS`."""
SET: Final = 0x40086602
LETTERS: Final = {
    "s": 0x1,
    "u": 0x2,
    "c": 0x4,
    "S": 0x8,
    "i": 0x10,
    "a": 0x20,
    "d": 0x40,
    "A": 0x80,
    "j": 0x4000,
    "t": 0x8000,
    "D": 0x10000,
    "T": 0x20000,
}
"""Those that are a user's to set, and mean the same on every disk; others describe how one file system stores it."""
KEPT: Final = sum(LETTERS.values())
LOCKS: Final = LETTERS["i"] | LETTERS["a"]
"""Who has one of these is neither written to, nor linked, nor deleted."""
PROTECTED: Final = ("trusted.overlay.protattr", "user.overlay.protattr")
"""Where overlayfs keeps `i` and `a` of a file in the upper layer (fs/overlayfs/util.c): as letters."""
NOTE: Final = "trusted.overlay.bakery.flags"
"""Where a saved layer keeps all of them, as a number: a file that nobody may delete would stay in the cache for ever.
An overlay shows no extended attribute of this prefix."""
NOT_HERE: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def shown(flags: int) -> str:
    """Return flags as lsattr(1) writes them, without the dashes."""
    return "".join(letter for letter, bit in LETTERS.items() if flags & bit)


def read(path: Path) -> int:
    """Return the flags of a file or folder, as far as a user set them; 0 where the file system has none."""
    if not _may_have(path):
        return 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return _get(descriptor) & KEPT
    finally:
        os.close(descriptor)


def write(path: Path, flags: int) -> None:
    """Give a file or folder these flags of a user's, and leave the file system's own.

    Raises:
        OSError: the kernel refuses, or the file system knows no such flag.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        now = _get(descriptor)
        if now & KEPT != flags:
            fcntl.ioctl(descriptor, SET, array.array("l", [now & ~KEPT | flags]))
    finally:
        os.close(descriptor)


def in_layer(path: Path) -> int:
    """Return the flags that a file of an overlay's upper layer, or of a saved layer, has in the machine."""
    if not _may_have(path):
        return 0
    with suppress(OSError):
        return int(os.getxattr(path, NOTE, follow_symlinks=False))
    flags = read(path)
    for name in PROTECTED:
        with suppress(OSError):
            letters = os.getxattr(path, name, follow_symlinks=False).decode(errors="replace")
            flags |= sum(LETTERS[letter] for letter in "ia" if letter in letters)
    return flags


def note(source: Path, target: Path) -> bool:
    """Write the flags of a layer's file down beside its copy in a saved layer; return whether it has any."""
    flags = in_layer(source)
    if flags:
        os.setxattr(target, NOTE, str(flags).encode(), follow_symlinks=False)
    return flags != 0


def plant(source: Path, target: Path) -> None:
    """Give a file of a new upper layer the flags that one of a saved layer is noted to have.

    Args:
        source: in the saved layer.
        target: in the upper layer, which is not mounted yet.
    """
    flags = in_layer(source)
    if locks := shown(flags & LOCKS):
        os.setxattr(target, PROTECTED[0], locks.encode(), follow_symlinks=False)
    if rest := flags & ~LOCKS:
        with suppress(OSError):  # the disk of the run's folder knows it not: so the image will not have it
            write(target, rest)


def _may_have(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _get(descriptor: int) -> int:
    flags = array.array("l", [0])
    try:
        fcntl.ioctl(descriptor, GET, flags)
    except OSError as error:
        if error.errno in NOT_HERE:
            return 0
        raise
    return flags[0] & 0xFFFFFFFF
