"""The image's files as the running system would see them: several file systems joined by its fstab."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from bakery.disk.inspect.ext4_reader import DirectoryEntry
from bakery.disk.inspect.volumes import DiskVolume


class FileSystem(Protocol):
    """A file system that can be looked into."""

    volume: DiskVolume
    subvolume: str

    def entries(self, *folders: str) -> tuple[DirectoryEntry, ...]:
        """List what is in these folders; one that does not exist is empty."""
        ...

    def top(self) -> DirectoryEntry:
        """Return the root folder itself."""
        ...

    def walk(self, folder: str) -> tuple[DirectoryEntry, ...]:
        """List all that is below a folder."""
        ...

    def read(self, entry: DirectoryEntry) -> str:
        """Return a file's content as text."""
        ...

    def owners(self, offsets: Iterable[int]) -> Mapping[int, str]:
        """Say which file holds each byte of the disk; bytes that are in no file are left out."""
        ...


class Tree:
    """All file systems of an image that can be looked into, each at its mount point.

    Args:
        systems: the file systems.
    """

    def __init__(self, systems: Sequence[FileSystem]) -> None:
        self._root = next((system for system in systems if system.entries("/etc")), None)
        self._mounts: dict[str, FileSystem] = {}
        if self._root is not None:
            self._mounts["/"] = self._root
            text = self.text("/etc/fstab")
            points = list(zip(fstab(text), subvolumes(text), strict=True))
            for system in systems:
                point = next(
                    (
                        point
                        for (spec, point), subvolume in points
                        if means(spec, system.volume) and subvolume in (None, system.subvolume)
                    ),
                    None,
                )
                if system is not self._root and point:
                    self._mounts[point.rstrip("/") or "/"] = system

    @property
    def is_system(self) -> bool:
        """True when there is a root file system in the image."""
        return self._root is not None

    def entries(self, *folders: str) -> tuple[DirectoryEntry, ...]:
        """List what is in these folders."""
        grouped: dict[str, list[str]] = {}
        for folder in folders:
            grouped.setdefault(self._point(folder), []).append(folder)
        return tuple(
            replace(entry, path=_join(point, entry.path))
            for point, wanted in grouped.items()
            for entry in self._mounts[point].entries(*(_below(point, folder) for folder in wanted))
        )

    def top(self) -> DirectoryEntry:
        """Return the root folder itself."""
        return replace(self._mounts["/"].top(), path="/")

    def everything(self) -> Iterable[DirectoryEntry]:
        """List all files and folders of all file systems, the root folder included."""
        yield self.top()
        for point in self._mounts:
            yield from self.walk(point)

    def walk(self, folder: str) -> tuple[DirectoryEntry, ...]:
        """List all that is below a folder, in the file system that the folder is in."""
        point = self._point(folder)
        entries = self._mounts[point].walk(_below(point, folder))
        return tuple(replace(entry, path=_join(point, entry.path)) for entry in entries)

    def files(self, *paths: str) -> tuple[DirectoryEntry, ...]:
        """Look up paths; those that do not exist, or are no regular files, are left out."""
        wanted = set(paths)
        folders = dict.fromkeys(path.rpartition("/")[0] or "/" for path in paths)
        return tuple(entry for entry in self.entries(*folders) if entry.path in wanted and entry.is_file)

    def read(self, entry: DirectoryEntry) -> str:
        """Return a file's content as text."""
        point = self._point(entry.path)
        return self._mounts[point].read(replace(entry, path=_below(point, entry.path)))

    def text(self, path: str) -> str:
        """Return the content of a file, empty where there is none."""
        return "".join(self.read(entry) for entry in self.files(path))

    def place(self, system: FileSystem, path: str) -> str:
        """Return a path of one file system as the running system would call it."""
        point = next((point for point, mounted in self._mounts.items() if mounted is system), None)
        return _join(point, path) if point is not None else f"{path} on {system.volume.name}"

    def _point(self, path: str) -> str:
        fitting = [point for point in self._mounts if point == "/" or f"{path}/".startswith(f"{point}/")]
        return max(fitting, key=len)


def _below(point: str, path: str) -> str:
    return path if point == "/" else path.removeprefix(point) or "/"


def _join(point: str, path: str) -> str:
    return path if point == "/" else f"{point}{path}"


def fstab(text: str) -> Iterable[tuple[str, str]]:
    """Yield device and mount point of each line of an fstab."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and not words[0].startswith("#") and words[1].startswith("/"):
            yield words[0], words[1]


def subvolumes(text: str) -> Iterable[str | None]:
    """Yield the subvolume of a btrfs that each line of an fstab names; None for those that name none."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and not words[0].startswith("#") and words[1].startswith("/"):
            options = words[3].split(",") if len(words) > 3 else []  # noqa: PLR2004  fstab(5)
            named = (option.removeprefix("subvol=") for option in options if option.startswith("subvol="))
            yield next((name.strip("/") for name in named), None)


def means(spec: str, volume: DiskVolume) -> bool:
    """Say whether the device of a line of fstab is this volume."""
    if spec in volume.devices:
        return True
    kind, _, value = spec.replace('"', "").partition("=")
    known = {"UUID": volume.uuid, "LABEL": volume.label, "PARTUUID": volume.part_uuid}
    return bool(value) and known.get(kind, "").lower() == value.lower()
