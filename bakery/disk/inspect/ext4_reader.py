"""Reading ext2, ext3 and ext4 file systems inside a disk image with debugfs, unmounted and unchanged."""

from __future__ import annotations

import re
import stat
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bakery.disk.inspect.tools import run
from bakery.disk.inspect.volumes import DiskVolume
from bakery.util.waiting import Cancel

_ENTRY: Final = re.compile(r"/(\d+)/([0-7]+)/(\d*)/(\d*)/(.*)/(\d*)/", re.DOTALL)
_PLAIN: Final = re.compile(r"[^\"\x00-\x1f]+")
_BATCH: Final = 500
_FIRST: Final = 11
"""Lower inodes are the file system's own: the journal, above all."""


@dataclass(frozen=True)
class DirectoryEntry:
    """A name in a folder.

    Args:
        path: from the file system's own root.
        inode: its number.
        mode: type and permissions, as in `stat`.
        size: bytes; 0 for folders.
        uid: the owner's number.
        gid: the group's number.
    """

    path: str
    inode: int
    mode: int
    size: int
    uid: int = 0
    gid: int = 0

    @property
    def is_folder(self) -> bool:
        """True for a folder."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """True for a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class Ext4:
    """One file system in a raw disk image.

    Args:
        disk: the raw image.
        volume: where in it.
        cancel: ends the tool.
    """

    subvolume = ""

    def __init__(self, disk: Path, volume: DiskVolume, cancel: Cancel) -> None:
        self._cancel = cancel
        # debugfs(8) hands what follows the question mark to libext2fs, whose unix I/O manager knows `offset`.
        self._device = f"{disk}?offset={volume.start}"
        self.volume = volume

    def entries(self, *folders: str) -> tuple[DirectoryEntry, ...]:
        """List what is in these folders; one that does not exist is empty."""
        wanted = [folder for folder in folders if _PLAIN.fullmatch(folder)]
        texts = self._ask([f'ls -p "{folder}"' for folder in wanted])
        return tuple(entry for folder, text in zip(wanted, texts, strict=True) for entry in _entries(folder, text))

    def top(self) -> DirectoryEntry:
        """Return the root folder itself."""
        (text,) = self._ask(["ls -p /"])
        return next(entry for entry in _entries("", text, hidden=("..",)) if entry.name == ".")

    def walk(self, folder: str) -> tuple[DirectoryEntry, ...]:
        """List all that is below a folder."""
        entries: list[DirectoryEntry] = []
        level = list(self.entries(folder))
        while level:
            entries += level
            folders = [entry for entry in level if entry.is_folder]
            texts = self._ask([f"ls -p <{entry.inode}>" for entry in folders])  # by inode: no name needs quoting
            level = [below for entry, text in zip(folders, texts, strict=True) for below in _entries(entry.path, text)]
        return tuple(entries)

    def read(self, entry: DirectoryEntry) -> str:
        """Return a file's content as text."""
        return run(["debugfs", "-R", f"cat <{entry.inode}>", self._device], self._cancel)

    def flags(self, inodes: Sequence[int]) -> tuple[int, ...]:
        """Return the flags of inodes, those of the file system's own included."""
        texts = self._ask([f"stat <{inode}>" for inode in inodes])
        return tuple(int(re.findall(r"Flags: 0x([0-9a-f]+)", text)[0], 16) for text in texts)

    def owners(self, offsets: Iterable[int]) -> Mapping[int, str]:
        """Say which file holds each byte of the disk; bytes that are in no file are left out.

        Args:
            offsets: in the disk, inside this volume.
        """
        size = self._block_size()
        blocks = {offset: (offset - self.volume.start) // size for offset in offsets}
        inodes = self._pairs("icheck", sorted(set(blocks.values())))
        paths = self._pairs("ncheck", sorted({int(inode) for inode in inodes.values() if inode.isdigit()}))
        owners: dict[int, str] = {}
        for offset, block in blocks.items():
            inode = inodes.get(block, "")
            if inode.isdigit() and int(inode) >= _FIRST:
                path = paths.get(int(inode), f"a file without a name (inode {inode})")
                owners[offset] = "/" + path.lstrip("/") if path.startswith("/") else path
        return owners

    def _block_size(self) -> int:
        text = run(["debugfs", "-R", "stats -h", self._device], self._cancel)
        match = re.search(r"Block size:\s+(\d+)", text)
        return int(match[1]) if match else 4096

    def _pairs(self, command: str, numbers: Sequence[int]) -> dict[int, str]:
        """Ask icheck or ncheck, whose answers are two columns under a head line."""
        pairs: dict[int, str] = {}
        for start in range(0, len(numbers), _BATCH):
            part = " ".join(map(str, numbers[start : start + _BATCH]))
            for line in run(["debugfs", "-R", f"{command} {part}", self._device], self._cancel).splitlines():
                number, _, rest = line.partition("\t")
                if number.isdigit():
                    pairs.setdefault(int(number), rest)
        return pairs

    def _ask(self, commands: Sequence[str]) -> list[str]:
        """Run several commands in one debugfs, which repeats each in front of its answer."""
        if not commands:
            return []
        text = run(["debugfs", "-f", "-", self._device], self._cancel, text="\n".join(commands) + "\n")
        answers: list[str] = []
        at = 0
        for number, command in enumerate(commands):
            at = text.index(f"debugfs: {command}\n", at) + len(command) + len("debugfs: \n")
            following = commands[number + 1] if number + 1 < len(commands) else None
            end = text.index(f"debugfs: {following}\n", at) if following is not None else len(text)
            answers.append(text[at:end])
        return answers


def _entries(folder: str, text: str, hidden: Container[str] = (".", "..")) -> Iterable[DirectoryEntry]:
    for line in text.splitlines():
        match = _ENTRY.fullmatch(line)
        if match and match[5] not in hidden and match[1] != "0":
            inode, mode, uid, gid, name, size = match.groups(default="")
            path = f"{folder.rstrip('/')}/{name}"
            yield DirectoryEntry(path, int(inode), int(mode, 8), int(size or 0), uid=int(uid or 0), gid=int(gid or 0))
