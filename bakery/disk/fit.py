"""Whether a tree of files can fit on a disk: asked before anything is built on it, not when the image is written."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from errno import EFBIG, EINVAL
from pathlib import Path
from uuid import UUID

from bakery.disk.layout import MIB, Layout
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.tools import root, run

OVERHEAD = 0.016
"""The part of an ext4 file system that its tables take at least: an inode of 256 bytes for each 16 KiB, and bitmaps."""
JOURNAL = 16 * MIB
"""The smallest journal of a file system that has room for an operating system (mke2fs(8))."""
NOTE = "tree.size"


def used(tree: Path, work: WorkContext) -> int:
    """Return the bytes that a base's files take; measured once, and noted beside the tree.

    Args:
        tree: its root folder, in a folder of its own of the cache; it never changes.
        work: can cancel it.
    """
    note = tree.with_name(NOTE)
    with suppress(OSError, ValueError):
        if note.stat().st_mtime_ns >= tree.stat().st_ctime_ns:
            return int(note.read_text())
    words: tuple[str | Path, ...] = (*root(), "du", "--summarize", "--block-size=1", "--one-file-system", tree)
    size = int(run(words, work, what="measuring the base").split()[0])
    with suppress(OSError):  # a cache that we may only read
        write_whole(note, str(size))
    return size


def least(tree_size: int) -> int:
    """Return the size of the smallest disk, in whole MiB, that files of so many bytes can fit on."""
    beside = -Layout(size=0, identity=UUID(int=0)).root.size
    size = (tree_size + JOURNAL) / (1 - OVERHEAD) + beside
    return -(-int(size) // MIB) * MIB


def require(tree: Path, disk: int, work: WorkContext) -> None:
    """Refuse a disk that is too small for a base.

    Args:
        tree: the base's files.
        disk: bytes of the disk.
        work: can cancel it.

    Raises:
        DriverError: with the size that is needed.
    """
    needed = least(used(tree, work))
    if disk < needed:
        raise DriverError(
            f"disk= is {disk >> 20} MiB, and its base's files need {needed >> 20} MiB",
            hint=f'disk="{-(-needed // MIB)}M" holds the base alone; leave room for what the tasks add',
        )


def require_file(folder: Path, disk: int) -> None:
    """Refuse a disk of more bytes than a file can have there, which a capture would find out when all tasks have run.

    Args:
        folder: where the disk's file will be, or a folder on the way to it that is there.
        disk: bytes of the disk.

    Raises:
        DriverError: with what to do.
    """
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    with tempfile.TemporaryFile(dir=there) as file:
        try:
            file.truncate(disk)
        except (OverflowError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (EFBIG, EINVAL):
                raise
            raise DriverError(
                f"disk= is {disk >> 30} GiB, and no file in {there} can be as large",
                why=str(error),
                hint='a smaller disk does: it grows where the image is started (disk="8G" is usual)',
            ) from error
