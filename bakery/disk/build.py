"""From a tree of files to a disk that BIOS and UEFI firmware boot: no root, no mount, no loop device."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from bakery.disk import bootfiles, ext4, grub
from bakery.disk.layout import MIB, Layout, partition
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.tools import missing, root, run

GIB = 1 << 30
SPARE = 3 * GIB // 2
"""Bytes beyond the tree that a disk has when nobody says how large it shall be."""


def check() -> Iterator[Problem]:
    """Yield the programs that `make_disk` needs and that are not there."""
    yield from missing(
        {
            "sfdisk": "fdisk",
            "mke2fs": "e2fsprogs",
            "debugfs": "e2fsprogs",
            "mformat": "mtools",
            "mcopy": "mtools",
            **({"newuidmap": "uidmap"} if root() else {}),
        }
    )


def make_disk(
    tree: Path,
    out: Path,
    work: WorkContext,
    *,
    size: int | None = None,
    identity: UUID | None = None,
    flags: Mapping[str, int] | None = None,
) -> None:
    """Make a bootable raw disk of a tree.

    The tree needs a kernel with its initramfs, grub-pc-bin and grub-efi-amd64-bin; it is only read.

    Args:
        tree: its root folder, owned as the image shall be (seen from a user namespace for everybody but root), or
            a tar archive.
        out: the sparse file to write; an old one is overwritten.
        work: can cancel it.
        size: bytes of the disk, rounded up to 1 MiB; the tree and 1.5 GiB, rounded up to 1 GiB, when not given.
        identity: what all UUIDs on the disk derive from; random when not given.
        flags: attributes of chattr(1) by absolute path, as in `bakery.util.inode_flags`.

    Raises:
        DriverError: a tool is missing or fails, or the tree cannot be booted or does not fit.
        Interrupted: when cancelled.
    """
    with tempfile.TemporaryDirectory(prefix=".disk-", dir=out.parent) as scratch, _folder(tree, out, work) as files:
        folder = Path(scratch)
        layout = Layout(size=_size(files, size, work), identity=identity or uuid4())
        ties = bootfiles.ties(files, layout)
        bootfiles.tell_unread(files, work)
        partition(out, layout, folder, work)
        ext4.make(out, layout, files, folder, work, flags=flags)
        ext4.write(out, layout, ties, folder, work)
        grub.install(out, layout, files, folder, work)


def _size(tree: Path, size: int | None, work: WorkContext) -> int:
    if size is None:
        words: tuple[str | Path, ...] = (*root(), "du", "--summarize", "--block-size=1", "--one-file-system", tree)
        used = int(run(words, work, what="measuring the tree").split()[0])
        return -(-(used + SPARE) // GIB) * GIB
    return rounded(size)


def rounded(size: int) -> int:
    """Return the size that a disk gets when somebody asks for one of `size` bytes."""
    return -(-size // MIB) * MIB


@contextmanager
def _folder(tree: Path, out: Path, work: WorkContext) -> Generator[Path]:
    """Yield the tree as a folder: unpacked beside `out` while the block runs, if it is an archive."""
    if tree.is_dir():
        yield tree
        return
    scratch = Path(tempfile.mkdtemp(prefix=".tree-", dir=out.parent))
    files = scratch / "root"
    try:
        files.mkdir()
        unpack(tree, files, work)
        yield files
    finally:
        remove(scratch, work)


def unpack(archive: Path, to: Path, work: WorkContext) -> None:
    """Unpack a tree with its owners, modes, links and extended attributes.

    Raises:
        DriverError: tar fails.
    """
    run(unpack_words(archive, to), work, what=f"unpacking {archive.name}", timeout=1800)


def unpack_words(archive: str | Path, to: Path) -> tuple[str | Path, ...]:
    """Return the command that unpacks a tree so; `-` is standard input."""
    return (
        *root(),
        "tar",
        "--extract",
        "--file",
        archive,
        "--directory",
        to,
        "--numeric-owner",
        "--same-owner",
        "--preserve-permissions",
        "--xattrs",
        "--xattrs-include=*",
        "--delay-directory-restore",
        *(("--exclude=./dev/*",) if root() else ()),
    )


def remove(tree: Path, work: WorkContext) -> None:
    """Remove a tree of many owners; nothing happens when it is not there."""
    with work.cancel:
        run((*root(), "rm", "--recursive", "--force", "--one-file-system", tree), work, what=f"removing {tree}")
