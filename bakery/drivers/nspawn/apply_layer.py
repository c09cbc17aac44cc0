"""A machine's layer, written into a tree: what an overlay only shows as one is made one."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from bakery.drivers.nspawn.layers import copy, copy_attributes, is_opaque


def apply(layer: Path, tree: Path) -> None:
    """Change a tree as an overlay's upper layer says, with owners, modes, links, times and extended attributes.

    Args:
        layer: as overlayfs left it: removed names are devices 0/0, replaced folders are marked as opaque.
        tree: what lay below it.

    Raises:
        OSError: the tree's disk is full.
    """
    _folder(layer, tree, {})


def _folder(layer: Path, tree: Path, names: dict[int, Path]) -> None:
    if is_opaque(layer):
        for path in tree.iterdir():
            _remove(path)
    with os.scandir(layer) as entries:
        for entry in entries:
            _entry(Path(entry.path), entry.stat(follow_symlinks=False), tree / entry.name, names)
    _forget_attributes(layer, tree)
    copy_attributes(layer, tree)


def _entry(source: Path, status: os.stat_result, target: Path, names: dict[int, Path]) -> None:
    if stat.S_ISDIR(status.st_mode):
        if target.is_symlink() or not target.is_dir():
            _remove(target)
            target.mkdir()
        _folder(source, target, names)
        return
    _remove(target)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return  # a whiteout
    known = names.get(status.st_ino) if status.st_nlink > 1 else None
    if known is not None:
        os.link(known, target, follow_symlinks=False)
        return
    copy(source, status, target)
    names[status.st_ino] = target


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _forget_attributes(source: Path, target: Path) -> None:
    """An access list that was taken off a folder is gone from the upper layer: nothing there says so."""
    kept = set(os.listxattr(source, follow_symlinks=False))
    for name in os.listxattr(target, follow_symlinks=False):
        if name not in kept:
            os.removexattr(target, name, follow_symlinks=False)
