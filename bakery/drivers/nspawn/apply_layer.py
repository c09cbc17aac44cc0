"""A machine's layer, written into a tree: what an overlay only shows as one is made one."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bakery.drivers.nspawn.layers import copy, copy_attributes, is_opaque
from bakery.util import inode_flags
from bakery.util.context import WorkContext

SHOWN = 10


def remove(path: Path) -> None:
    """Remove a file or a folder, also what is immutable; nothing happens when it is not there."""
    try:
        _delete(path)
    except PermissionError:  # a lower layer has made it immutable, or something in it
        unlock_all(path)
        _delete(path)


def apply(layer: Path, tree: Path, remove: Callable[[Path], None] = remove) -> list[str]:
    """Change a tree as an overlay's upper layer says: owners, modes, links, times, extended attributes, chattr(1)'s.

    Args:
        layer: as overlayfs left it: removed names are devices 0/0, replaced folders are marked as opaque.
        tree: what lay below it.
        remove: takes a file or folder, if it is there, out of the tree.

    Returns:
        The files whose attributes of chattr(1) the tree's file system does not take, each as `i /etc/resolv.conf`.

    Raises:
        OSError: the tree's disk is full.
    """
    applied = _Applied(remove)
    applied.folder(layer, tree)
    return applied.lock(tree)


def tell_lost(lost: Sequence[str], work: WorkContext) -> None:
    """Name the files whose attributes of chattr(1) are not in the image, where there are any.

    Args:
        lost: what `apply` returned.
        work: who is told.
    """
    if lost:
        more = f", and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        work.notice(
            f"file attributes are not in the image: {', '.join(lost[:SHOWN])}{more}",
            warning=True,
            hint="see chattr(1); set them at the first boot, by a unit or by cloud-init",
        )


class _Applied:
    """What has been written so far."""

    def __init__(self, remove: Callable[[Path], None]) -> None:
        self._remove = remove
        self._names: dict[int, Path] = {}
        self._flags: dict[Path, int] = {}

    def folder(self, source: Path, target: Path) -> None:
        """Change one folder, and all below it."""
        _unlock(target)
        if is_opaque(source):
            for path in list(target.iterdir()):
                self._remove(path)
        with os.scandir(source) as entries:
            for entry in entries:
                self._entry(Path(entry.path), entry.stat(follow_symlinks=False), target / entry.name)
        _forget_attributes(source, target)
        copy_attributes(source, target)
        self._flags[target] = inode_flags.in_layer(source)

    def lock(self, tree: Path) -> list[str]:
        """Set the attributes of chattr(1) at last: what has some can be neither linked nor written into."""
        lost: list[str] = []
        for path, flags in self._flags.items():
            try:
                inode_flags.write(path, flags)
            except OSError:
                lost.append(f"{inode_flags.shown(flags)} /{path.relative_to(tree)}")
        return sorted(lost)

    def _entry(self, source: Path, status: os.stat_result, target: Path) -> None:
        if stat.S_ISDIR(status.st_mode):
            if target.is_symlink() or not target.is_dir():
                self._remove(target)
                target.mkdir()
            self.folder(source, target)
            return
        self._remove(target)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return  # a whiteout
        known = self._names.get(status.st_ino) if status.st_nlink > 1 else None
        if known is not None:
            os.link(known, target, follow_symlinks=False)
            return
        copy(source, status, target)
        self._names[status.st_ino] = target
        if stat.S_ISREG(status.st_mode):  # also where it has none: a new file takes over some of its folder's
            self._flags[target] = inode_flags.in_layer(source)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unlock_all(path: Path) -> None:
    """Take away, from a file or a folder and all in it, what lets nobody write, link or delete."""
    _unlock(path)
    for below in path.rglob("*") if path.is_dir() and not path.is_symlink() else ():
        _unlock(below)


def _unlock(path: Path) -> None:
    """Take away what lets nobody write, link or delete."""
    with suppress(FileNotFoundError):
        if (flags := inode_flags.read(path)) & inode_flags.LOCKS:
            inode_flags.write(path, flags & ~inode_flags.LOCKS)


def _forget_attributes(source: Path, target: Path) -> None:
    """Take off an access list that is gone from the folder in the upper layer: nothing there says so."""
    kept = set(os.listxattr(source, follow_symlinks=False))
    for name in os.listxattr(target, follow_symlinks=False):
        if name not in kept:
            os.removexattr(target, name, follow_symlinks=False)
