"""A machine's layer, written into a tree: what an overlay only shows as one is made one."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from bakery.drivers.nspawn.layers import copy, copy_attributes, is_opaque


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing happens when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def apply(layer: Path, tree: Path, remove: Callable[[Path], None] = remove) -> None:
    """Change a tree as an overlay's upper layer says, with owners, modes, links, times and extended attributes.

    Args:
        layer: as overlayfs left it: removed names are devices 0/0, replaced folders are marked as opaque.
        tree: what lay below it.
        remove: takes a file or folder, if it is there, out of the tree.

    Raises:
        OSError: the tree's disk is full.
    """
    _Applied(remove).folder(layer, tree)


class _Applied:
    """A layer on its way into a tree, and the files with several names that were met."""

    def __init__(self, remove: Callable[[Path], None]) -> None:
        self._remove = remove
        self._names: dict[int, Path] = {}

    def folder(self, layer: Path, tree: Path) -> None:
        """Change a folder that is there."""
        if is_opaque(layer):
            for path in list(tree.iterdir()):
                self._remove(path)
        with os.scandir(layer) as entries:
            for entry in entries:
                self._entry(Path(entry.path), entry.stat(follow_symlinks=False), tree / entry.name)
        _forget_attributes(layer, tree)
        copy_attributes(layer, tree)

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


def _forget_attributes(source: Path, target: Path) -> None:
    """An access list that was taken off a folder is gone from the upper layer: nothing there says so."""
    kept = set(os.listxattr(source, follow_symlinks=False))
    for name in os.listxattr(target, follow_symlinks=False):
        if name not in kept:
            os.removexattr(target, name, follow_symlinks=False)
