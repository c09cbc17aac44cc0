"""Reading XFS and btrfs inside a disk image: by this host's kernel, unwritten, in a mount namespace of its own.

There is no tool like debugfs for them that reads a file system without mounting it, so only root can. Nothing is left
behind however it ends: the mount goes with the namespace, and that with the process.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from bakery.disk.inspect.ext4_reader import DirectoryEntry
from bakery.disk.inspect.scan import Needles, Pattern
from bakery.disk.inspect.volumes import DiskVolume
from bakery.errors import DriverError
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.process import exit_text
from bakery.util.waiting import Cancel

OPTIONS: Final = {"xfs": "norecovery,nouuid", "btrfs": "subvolid=5"}
"""How each is mounted where nobody may write to it. btrfs from its top, whatever its default subvolume is."""
PATIENCE: Final = 1800.0
_REFUSED: Final = 77
"""The scripts' exit code where mount(8) refuses; nothing else has it, least of all a program that was killed."""
_MOUNT: Final = (
    f'set -eu; mount -t "$1" -o "$2" "$3" "$4" || {{ c=$?; [ "$c" -gt 128 ] && exit "$c"; exit {_REFUSED}; }}; '
    'cd "$4/$5"; shift 5; '
)
_LIST: Final = _MOUNT + r"find . -xdev -printf '%i/%y/%m/%U/%G/%s/%P\0'"
_READ: Final = _MOUNT + 'cat -- "./$1"'
_SEARCH: Final = _MOUNT + "grep --recursive --files-with-matches --null --text --fixed-strings --devices=skip -f - ."
_TYPES: Final = {"f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "b": stat.S_IFBLK, "c": stat.S_IFCHR}
_TYPES_ELSE: Final = stat.S_IFIFO


def possible() -> bool:
    """Say whether we may mount."""
    return os.geteuid() == 0 and bool(tools.alone())


class MountedSystem:
    """One XFS, or one subvolume of a btrfs, in a raw disk image; the same face as `Ext4`.

    Args:
        disk: the raw image.
        volume: where in it.
        cancel: ends what is running.
        subvolume: of a btrfs.
    """

    def __init__(self, disk: Path, volume: DiskVolume, cancel: Cancel, subvolume: str = "") -> None:
        self.volume, self.subvolume = volume, subvolume
        self._disk, self._cancel = disk, cancel

    @property
    def compresses(self) -> bool:
        """True where the disk's bytes may not be the files' bytes."""
        return self.volume.kind == "btrfs"

    def there(self) -> bool:
        """Say whether there is such a subvolume, with anything in it.

        Raises:
            DriverError: this kernel does not read the file system.
        """
        return bool(self._all)

    def entries(self, *folders: str) -> tuple[DirectoryEntry, ...]:
        """List what is in these folders; one that does not exist is empty."""
        return tuple(entry for folder in folders for entry in self._all.get(folder.rstrip("/") or "/", ()))

    def top(self) -> DirectoryEntry:
        """Return the root folder itself."""
        (entry,) = self._all[""]
        return entry

    def walk(self, folder: str) -> tuple[DirectoryEntry, ...]:
        """List all that is below a folder."""
        found: list[DirectoryEntry] = []
        waiting = [*self.entries(folder)]
        while waiting:
            entry = waiting.pop()
            found.append(entry)
            if entry.is_folder:
                waiting += self.entries(entry.path)
        return tuple(found)

    def read(self, entry: DirectoryEntry) -> str:
        """Return a file's content as text."""
        return self._content(entry.path).decode(errors="replace")

    def owners(self, offsets: Iterable[int]) -> Mapping[int, str]:
        """Say which file holds each byte of the disk: this is not known here, see `search`."""
        del offsets
        return {}

    def search(self, patterns: Sequence[Pattern]) -> list[tuple[str, Pattern, bytes]]:
        """Find the files that hold a pattern: by their content, which may be compressed on the disk.

        Returns:
            Path, pattern, and what stands there, as often as it does.
        """
        longest = {max(pattern.needle.split(b"\n"), key=len) for pattern in patterns if pattern.needle}
        lines = b"\n".join(sorted(line for line in longest if line))
        if not lines:
            return []
        none_found = 1
        listing = self._run(_SEARCH, stdin=lines + b"\n", accept=(0, none_found))
        needles, hits = Needles(patterns), list[tuple[str, Pattern, bytes]]()
        for name in listing.split(b"\0"):
            if not name:
                continue
            path = "/" + os.fsdecode(name).removeprefix("./")
            data = self._content(path)
            hits += [(path, pattern, data[at : at + 400]) for at, pattern in needles.find(data, len(data))]
        return hits

    @cached_property
    def _all(self) -> dict[str, list[DirectoryEntry]]:
        """All files and folders, by the folder that they are in; the root folder's is empty."""
        below: dict[str, list[DirectoryEntry]] = {}
        for line in self._run(_LIST).split(b"\0"):
            if line:
                inode, kind, mode, uid, gid, size, path = os.fsdecode(line).split("/", 6)
                full = f"/{path}" if path else "/"
                folder = (full.rpartition("/")[0] or "/") if path else ""
                entry = DirectoryEntry(
                    full,
                    int(inode),
                    _TYPES.get(kind, _TYPES_ELSE) | int(mode, 8),
                    0 if kind == "d" else int(size),
                    uid=int(uid),
                    gid=int(gid),
                )
                below.setdefault(folder, []).append(entry)
        return below

    def _content(self, path: str) -> bytes:
        return self._run(_READ, path.lstrip("/"))

    def _run(self, script: str, *words: str, stdin: bytes | None = None, accept: tuple[int, ...] = (0,)) -> bytes:
        kind, place = self.volume.kind, f"offset={self.volume.start},sizelimit={self.volume.size}"
        options = f"ro,loop,nosuid,nodev,noexec,{place},{OPTIONS[kind]}"
        point = tempfile.gettempdir()  # what it has is hidden in this namespace alone; one of ours would outlive a kill
        return tools.run(
            (*tools.alone(), "sh", "-c", script, "sh", kind, options, self._disk, point, self.subvolume, *words),
            WorkContext(cache=Path(), cancel=self._cancel),
            what=f"reading the {kind} of {self.volume.name}",
            stdin=stdin,
            accept=accept,
            timeout=PATIENCE,
        )


def is_refusal(error: DriverError) -> bool:
    """Say whether this kernel does not read a file system, in place of a look that broke off."""
    return error.why.partition("\n")[0].endswith(exit_text(_REFUSED))


def systems(disk: Path, volume: DiskVolume, cancel: Cancel) -> list[MountedSystem]:
    """Return what can be read of a volume: one file system, or the usual subvolumes of a btrfs.

    Raises:
        DriverError: this kernel does not read it.
    """
    whole = MountedSystem(disk, volume, cancel)
    if not whole.compresses or whole.entries("/etc"):
        return [whole] if whole.there() else []
    names = [entry.name for entry in whole.entries("/") if entry.is_folder]
    return [whole, *(MountedSystem(disk, volume, cancel, name) for name in names)]
