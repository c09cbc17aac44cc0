"""The inspection as a whole: unpack, look at files, search every byte, say where it was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from bakery.disk.inspect import grep, mounted, tools
from bakery.disk.inspect.checks import CHECKS
from bakery.disk.inspect.ext4_reader import Ext4
from bakery.disk.inspect.findings import Finding, Hygiene
from bakery.disk.inspect.mounted import MountedSystem
from bakery.disk.inspect.scan import Match, Pattern, around, places_of_few, scan, scan_windows
from bakery.disk.inspect.tree import Tree
from bakery.disk.inspect.volumes import DiskVolume, raw_disk, volumes
from bakery.errors import DriverError
from bakery.util.context import WorkContext

_PRIVATE_KEY: Final = "\0private key"  # no secret's name has a NUL
_MARKS: Final = tuple(
    Pattern(_PRIVATE_KEY, b"-----BEGIN %sPRIVATE KEY-----" % kind, b"PRIVATE KEY-----")
    for kind in (b"", b"OPENSSH ", b"RSA ", b"EC ", b"DSA ", b"ENCRYPTED ")
)
_REAL_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n[A-Za-z0-9+/=:, \r\n-]{120}")
"""A key, not the mere mark, which programs that read keys have in them."""
_LOOK: Final = 400
_READABLE: Final = frozenset({"ext2", "ext3", "ext4"})
_NO_FILES: Final = frozenset({"", "vfat", "swap"})
"""What holds no accounts, and has all its data in the clear, where the search of every byte finds it."""
_COMPRESSES: Final = "btrfs"
"""A secret in a file that is compressed is not among the bytes of the disk."""
_PUBLISHED: Final = "/usr/"
"""Distributions ship keys for tests and examples there."""


def missing_tools(form: str = "qcow2") -> tuple[str, ...]:
    """Name the Debian packages that an inspection needs and this host lacks.

    Args:
        form: the image's format.
    """
    needed = [tool for tool in tools.PACKAGES if tool != "qemu-img" or form != "raw"]
    return tuple(tools.PACKAGES[tool] for tool in needed if tools.find(tool) is None)


def inspect(
    image: Path, form: str, patterns: Sequence[tuple[str, bytes]], options: Hygiene, work: WorkContext
) -> tuple[Finding, ...]:
    """Look into an image without booting it.

    Args:
        image: the file.
        form: `qcow2`, `raw`, or whatever else qemu-img reads.
        patterns: what must be nowhere in it, as `Redactor.patterns()` lists it: a secret's name and one of its forms.
        options: what is wanted.
        work: hears of the progress, and cancels.

    Returns:
        What was found, sorted; `Finding.fatal` tells what makes the image unfit.

    Raises:
        PreflightError: a tool is missing.
        DriverError: the image cannot be read.
        Interrupted: cancelled.
    """
    return inspect_disks([(image, form)], patterns, options, work)


def inspect_disks(
    images: Sequence[tuple[Path, str]], patterns: Sequence[tuple[str, bytes]], options: Hygiene, work: WorkContext
) -> tuple[Finding, ...]:
    """Look into all disks of one image: their file systems are joined by the fstab on one of them.

    Args:
        images: file and format of each disk, in order.
        patterns, options, work: as for `inspect`.
    """
    wanted = [*(Pattern(name, needle) for name, needle in patterns), *_MARKS]
    with ExitStack() as stack:
        disks = [
            _OpenedDisk.of(stack.enter_context(raw_disk(image, form, options.folder, work)), number, work)
            for number, (image, form) in enumerate(images, start=1)
        ]
        tree = Tree([system for disk in disks for system in disk.systems])
        findings = [*_in_files(tree)]
        if not tree.is_system and not any(disk.refused for disk in disks):
            detail = "there is no root file system that could be looked into"
            findings.append(Finding("not-inspected", "the disk", detail))
        for disk in disks:
            findings += _in_bytes(disk, wanted, tree, work)
    return tuple(sorted(finding for finding in set(findings) if options.wants(finding)))


@dataclass(frozen=True)
class _OpenedDisk:
    """A disk that can be read.

    Args:
        path: the raw file.
        parts: what is on it.
        systems: the file systems that can be looked into.
        refused: why others cannot.
    """

    path: Path
    parts: tuple[DiskVolume, ...]
    systems: list[Ext4 | MountedSystem]
    refused: Mapping[DiskVolume, str]

    @classmethod
    def of(cls, path: Path, number: int, work: WorkContext) -> Self:
        """Look at a disk; the first one of an image has no number in messages."""
        parts = tuple(replace(part, disk=number) for part in volumes(path, work))
        systems, refused = _systems(path, parts, work)
        return cls(path, parts, systems, refused)

    @property
    def outside(self) -> str:
        """What is on no partition, as it is called in messages."""
        other = next((f"disk {part.disk}, " for part in self.parts if part.disk > 1), "")
        return f"{other}outside of all partitions"


def _in_bytes(disk: _OpenedDisk, wanted: Sequence[Pattern], tree: Tree, work: WorkContext) -> Iterator[Finding]:
    """Search a disk, and say what on it could not be looked into."""
    yield from _unread(disk)
    hits = [hit for hit in _search(disk.path, wanted, work) if hit.name != _PRIVATE_KEY or _is_key(disk.path, hit)]
    for system in disk.systems:
        if isinstance(system, MountedSystem):
            told, hits = _by_content(system, wanted, hits, tree)
            yield from told
    yield from _located(hits, disk, tree)


def _search(disk: Path, wanted: Sequence[Pattern], work: WorkContext) -> list[Match]:
    """Search every byte, the quick way where this host has it."""
    work.waiting("searching the image for secrets")

    def step(done: int, total: int) -> None:
        work.cancel.check()
        work.progress("searching the image", done, total)

    places = places_of_few(disk, wanted, step)
    if places is None:
        places = grep.places(disk, wanted, work.cancel)
    return scan(disk, wanted, step) if places is None else scan_windows(disk, wanted, places)


def _in_files(tree: Tree) -> Iterator[Finding]:
    if tree.is_system:
        for check in CHECKS:
            yield from check(tree)


def _systems(
    disk: Path, parts: Sequence[DiskVolume], work: WorkContext
) -> tuple[list[Ext4 | MountedSystem], dict[DiskVolume, str]]:
    """Return the file systems that can be read here, and why others cannot."""
    systems: list[Ext4 | MountedSystem] = []
    refused: dict[DiskVolume, str] = {}
    for part in parts:
        if part.kind in _READABLE:
            systems.append(Ext4(disk, part, work.cancel))
        elif part.kind in mounted.OPTIONS and not mounted.possible():
            refused[part] = f"{part.kind} is read by root alone"
        elif part.kind in mounted.OPTIONS:
            try:
                systems += mounted.systems(disk, part, work.cancel)
            except DriverError as error:
                if not mounted.is_refusal(error):
                    raise
                refused[part] = f"{part.kind} cannot be read on this host ({error.why.splitlines()[-1]})"
        elif part.kind not in _NO_FILES:
            refused[part] = f"{part.kind} is not read"
    return systems, refused


def _unread(disk: _OpenedDisk) -> Iterator[Finding]:
    """Say plainly what could not be looked into."""
    for part, why in disk.refused.items():
        searched = "" if part.kind == _COMPRESSES else ", only its bytes were searched"
        yield Finding("not-inspected", part.name, f"{why}: its files were not looked at{searched}")


def _by_content(
    system: MountedSystem, wanted: Sequence[Pattern], hits: Sequence[Match], tree: Tree
) -> tuple[list[Finding], list[Match]]:
    """Find which files of a mounted file system hold what was found in its bytes, or what its compression hides there.

    Returns:
        Findings, and the hits that they do not explain.
    """
    inside = {hit.name for hit in hits if _holds(system.volume, hit)}
    asked = [pattern for pattern in wanted if system.compresses or pattern.name in inside]
    counted: Counter[tuple[str, str]] = Counter()
    for path, pattern, data in system.search(asked):
        if pattern.name != _PRIVATE_KEY or _REAL_KEY.match(data):
            counted[pattern.name, tree.place(system, path)] += 1
    found = {name for name, _ in counted}
    rest = [hit for hit in hits if hit.name not in found or not _holds(system.volume, hit)]
    return list(_told(counted)), rest


def _is_key(disk: Path, hit: Match) -> bool:
    return _REAL_KEY.match(around(disk, hit, _LOOK)) is not None


def _located(hits: Sequence[Match], disk: _OpenedDisk, tree: Tree) -> Iterator[Finding]:
    """Turn offsets into paths, and many hits of one secret in one file into one finding."""
    counted: Counter[tuple[str, str]] = Counter()
    rest = list(hits)
    for system in disk.systems:
        inside = [hit for hit in rest if _holds(system.volume, hit)]
        rest = [hit for hit in rest if not _holds(system.volume, hit)]
        owners = system.owners({hit.offset for hit in inside}) if inside else {}
        for hit in inside:
            path = owners.get(hit.offset)
            where = tree.place(system, path) if path else f"free space or metadata of {system.volume.name}"
            counted[hit.name, where] += 1
    for hit in rest:
        part = next((part for part in disk.parts if _holds(part, hit)), None)
        counted[hit.name, part.name if part else disk.outside] += 1
    yield from _told(counted)


def _told(counted: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    for (name, where), number in counted.items():
        times = "once" if number == 1 else f"{number} times"
        if name != _PRIVATE_KEY:
            yield Finding("secret", where, f"holds the secret {name or '(unnamed)'}, {times}")
        elif not where.startswith(_PUBLISHED):
            yield Finding("private-key", where, f"holds a private key, {times}")


def _holds(part: DiskVolume, hit: Match) -> bool:
    return part.start <= hit.offset < part.start + part.size
