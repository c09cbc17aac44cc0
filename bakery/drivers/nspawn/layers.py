"""Layers of an overlay file system: how they are mounted, saved while the machine runs, and seen as one tree.

A saved layer is whole: it stands on the base alone, so that one can be deleted without another noticing. What two of
them share is shared by hard links, and takes its room once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bakery.util import extents, inode_flags

OPAQUE = "trusted.overlay.opaque"
"""The kernel's overlayfs.rst: a folder that hides what lower layers have under its name."""
OVERLAY = "trusted.overlay."
MARGIN = 50_000_000
"""Nanoseconds. The kernel stamps files with a clock that may lag by a tick; the slowest tick is 10 ms."""


def mount_option(paths: Sequence[Path]) -> str:
    """Write folders as mount(8) and overlayfs want them: colons between, commas and colons inside escaped."""
    return ":".join(str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,") for path in paths)


@dataclass(frozen=True, kw_only=True)
class Saver:
    """Saves a machine's layer as a new, whole layer.

    Args:
        below: the saved layer that the machine was restored from; None where it started from the base.
        earlier: the layer that was saved last from this same machine; None for the first.
        since: `time.time_ns()` when that was begun.
    """

    below: Path | None = None
    earlier: Path | None = None
    since: int = 0

    def save(self, upper: Path, target: Path) -> list[list[str]]:
        """Write what the machine has changed since the base into `target`, a new folder.

        The machine's files must not change meanwhile: its control group is frozen.

        Returns:
            The files that have several names or attributes of chattr(1), each as its names; see `plant`.

        Raises:
            OSError: the disk is full, or the file system keeps no extended attributes.
        """
        names = _Names()
        self._folder(upper, self.below, self.earlier, target, names)
        return [[str(path.relative_to(target)) for path in paths] for paths in names.groups()]

    def _folder(self, upper: Path, below: Path | None, earlier: Path | None, target: Path, names: _Names) -> None:
        target.mkdir()
        hides = is_opaque(upper)
        theirs = {} if below is None or hides else {entry.name: entry for entry in os.scandir(below)}
        with os.scandir(upper) as entries:
            ours = {entry.name: entry for entry in entries}
        for name in theirs.keys() - ours.keys():
            link_tree(Path(theirs[name].path), target / name)
        for name, entry in ours.items():
            if not entry.is_dir(follow_symlinks=False):
                self._file(Path(entry.path), earlier and earlier / name, target / name, names)
                continue
            under = theirs.get(name)
            is_folder = under is not None and under.is_dir(follow_symlinks=False)
            self._folder(
                Path(entry.path),
                Path(under.path) if under and is_folder else None,
                earlier and earlier / name,
                target / name,
                names,
            )
            if under is not None and not is_folder:
                _make_opaque(target / name)
        copy_attributes(upper, target)
        if inode_flags.note(upper, target):
            names.flagged.append(target)
        if hides or (below is not None and is_opaque(below)):
            _make_opaque(target)

    def _file(self, source: Path, earlier: Path | None, target: Path, names: _Names) -> None:
        status = source.lstat()
        if stat.S_ISSOCK(status.st_mode):
            return  # a socket is worth nothing without the process behind it
        known = names.several.setdefault(status.st_ino, []) if status.st_nlink > 1 else []
        if known:
            os.link(known[0], target, follow_symlinks=False)
        else:
            if earlier is None or not self._linked(status, earlier, target):
                copy(source, status, target)
            if inode_flags.note(source, target):
                names.flagged.append(target)
        known.append(target)

    def _linked(self, status: os.stat_result, earlier: Path, target: Path) -> bool:
        """Take the file from the layer that was saved last, if it has not changed since."""
        if status.st_ctime_ns > self.since - MARGIN:
            return False
        try:
            if _looks(status) != _looks(earlier.lstat()):
                return False
            os.link(earlier, target, follow_symlinks=False)
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class _Names:
    """The files of a layer that an overlay would not keep as they are when the layer is a lower one.

    Args:
        several: by inode, the names of files that have several.
        flagged: files and folders with attributes of chattr(1).
    """

    several: dict[int, list[Path]] = field(default_factory=dict[int, list[Path]])
    flagged: list[Path] = field(default_factory=list[Path])

    def groups(self) -> Iterator[list[Path]]:
        """Yield the names of each, in the order in which they are to be planted: folders before what is in them."""
        groups = [names for names in self.several.values() if len(names) > 1]
        known = {name for names in groups for name in names}
        yield from groups
        yield from ([path] for path in sorted(self.flagged) if path not in known)


def plant(layer: Path, groups: Sequence[Sequence[str]], upper: Path) -> None:
    """Copy files with several names, or attributes of chattr(1), from a saved layer into the new layer above it.

    An overlay that writes to one name of such a file below copies it up under that name alone, and the others keep the
    old content (overlayfs.rst, "non-standard behavior"). Attributes count in the upper layer alone. A restored machine
    shall not differ from one that ran on.
    """
    for first, *others in groups:
        for name in (first, *others):
            _plant_folder(layer, Path(name).parent, upper)
        status = (layer / first).lstat()
        if stat.S_ISDIR(status.st_mode):
            _plant_folder(layer, Path(first), upper)
        else:
            copy(layer / first, status, upper / first)
        inode_flags.plant(layer / first, upper / first)
        for name in others:
            os.link(upper / first, upper / name, follow_symlinks=False)


def _plant_folder(layer: Path, name: Path, upper: Path) -> None:
    if not (upper / name).exists():
        _plant_folder(layer, name.parent, upper)
        (upper / name).mkdir()
        copy_attributes(layer / name, upper / name)


def _looks(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, status.st_rdev)


def copy(source: Path, status: os.stat_result, target: Path) -> None:
    """Copy one file of whatever kind; a deleted file is a character device 0/0 (overlayfs.rst, "whiteouts")."""
    if stat.S_ISREG(status.st_mode):
        extents.copy(source, target)
    elif stat.S_ISLNK(status.st_mode):
        target.symlink_to(source.readlink())
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    copy_attributes(source, target)


def copy_attributes(source: Path, target: Path) -> None:
    """Owner, extended attributes (capabilities, access lists), mode and times, in the order that keeps them."""
    status = source.lstat()
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(OVERLAY):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def link_tree(source: Path, target: Path) -> None:
    """Make a second tree of the same files; folders cannot be linked, so they are made again."""
    if not source.is_dir() or source.is_symlink():
        os.link(source, target, follow_symlinks=False)
        return
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            link_tree(Path(entry.path), target / entry.name)
    copy_attributes(source, target)
    inode_flags.note(source, target)
    if is_opaque(source):
        _make_opaque(target)


def is_opaque(folder: Path) -> bool:
    with suppress(OSError):
        return os.getxattr(folder, OPAQUE, follow_symlinks=False) == b"y"
    return False


def _make_opaque(folder: Path) -> None:
    os.setxattr(folder, OPAQUE, b"y", follow_symlinks=False)
