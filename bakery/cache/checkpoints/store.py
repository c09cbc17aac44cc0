"""Checkpoints in the shared cache: found by step key, shared by images and processes, kept within a size limit.

A checkpoint is a folder `steps/KEY`, whose path never changes (running machines and later checkpoints stand on its
files). It counts once `manifest.json` is in it, which is written last and whole. `steps/KEY.lock` is held shared by
those who use it and alone by whoever makes or removes it; the lock's date says when it was last used.

What is checked when: each use compares names, modes, sizes and dates of all files with the manifest, which finds what
is missing, cut short or was written to. Contents are not hashed: that would take as long as the restore. A checkpoint
that had not been flushed to the disk before the host went down is not trusted.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bakery.cache.checkpoints import inventory, manifest
from bakery.cache.checkpoints.shared_lock import Flock
from bakery.errors import ImagefileError
from bakery.model import EMPTY, Checkpoint, Json, to_json
from bakery.util.context import WorkContext
from bakery.util.durations import date_of_use
from bakery.util.files import replacing
from bakery.util.units import parse_size

LIMIT: Final = 20 << 30
PARTS_STAY: Final = 86400.0
"""Seconds until parts of a checkpoint that was not fetched whole are given up."""


def limit(environ: Mapping[str, str]) -> int:
    """Say how many bytes checkpoints may take: `BAKERY_CACHE_LIMIT` (`20G`, `500M`), else 20 GiB.

    Raises:
        ImagefileError: it is no size.
    """
    return size_limit(environ, "BAKERY_CACHE_LIMIT", LIMIT)


def size_limit(environ: Mapping[str, str], variable: str, otherwise: int) -> int:
    """Read a limit in bytes from the environment.

    Raises:
        ImagefileError: it is no size.
    """
    text = environ.get(variable, "").strip()
    if not text:
        return otherwise
    try:
        return parse_size(text)
    except ValueError:
        raise ImagefileError(f"{variable}={text} is no size", hint="write 20G or 500M") from None


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A checkpoint in the cache.

    Args:
        key: the step key.
        driver: who made it.
        warm: True where it holds a running machine's memory.
        size: bytes on the disk.
        made: seconds since the epoch.
        used: when it was last used, in the same.
        stands_on: checkpoints whose files it needs.
        folder: where it is.
        made_for: the `project` (its folder), the `build` and the `task` that made it; others may share it.
    """

    key: str
    driver: str
    warm: bool
    size: int
    made: float
    used: float
    stands_on: tuple[str, ...]
    folder: Path
    made_for: Mapping[str, str] = field(default_factory=dict[str, str])


class Store:
    """The checkpoints of a cache.

    Args:
        work: where the cache is; gets notices.
        limit: bytes that they may take.
        boot: what identifies this run of the host's kernel; empty where it has no name.
    """

    def __init__(self, work: WorkContext, limit: int = LIMIT, boot: str | None = None) -> None:
        self.work, self.limit = work, limit
        self.folder = work.cache / "steps"
        self.boot = boot_id() if boot is None else boot
        self.foreign: list[Path] = []
        """What `prune` left alone because it is another user's."""

    def ls(self) -> list[CacheEntry]:
        """Return all whole checkpoints, the least recently used first."""
        return sorted(self._entries(), key=lambda entry: entry.used)

    def _entries(self) -> Iterator[CacheEntry]:
        for folder in self.folder.glob("[!.]*"):
            if data := self.manifest(folder.name):
                known, used = data["checkpoint"], self._used(folder.name)
                yield CacheEntry(
                    key=folder.name,
                    driver=known["driver"],
                    warm=known["warm"],
                    size=data["size"],
                    made=data["made"],
                    used=used or data["made"],
                    stands_on=tuple(data["stands_on"]),
                    folder=folder,
                    made_for=data.get("made_for", {}),
                )

    def size(self) -> int:
        """Bytes on the disk; what checkpoints share counts once."""
        return inventory.size(entry.folder for entry in self.ls())

    def prune(
        self, keep_bytes: int | None = None, older_than: float | None = None, *, dry_run: bool = False
    ) -> list[CacheEntry]:
        """Remove torn checkpoints, those not used for long, and the least recently used until the rest fits.

        What is in use, and what others stand on, stays.

        Args:
            keep_bytes: bytes that may stay; the store's limit when not given.
            older_than: seconds since the last use.
            dry_run: only say which would go.

        Returns:
            What was removed.
        """
        if not dry_run:
            self._sweep()
        most = self.limit if keep_bytes is None else keep_bytes
        removed: list[CacheEntry] = []
        busy: set[str] = set()
        while victim := self._victim(most, older_than, busy, {entry.key for entry in removed}):
            if self._is_idle(victim.key) if dry_run else self.drop(victim.key):
                removed.append(victim)
            else:
                busy.add(victim.key)
        return removed

    def _is_idle(self, key: str) -> bool:
        lock = self.lock(key)
        if not lock.try_alone():
            return False
        lock.release()
        return True

    def _victim(
        self, most: int, older_than: float | None, busy: set[str], removed: Container[str]
    ) -> CacheEntry | None:
        entries = [entry for entry in self.ls() if entry.key not in removed]
        needed = {key for entry in entries for key in entry.stands_on}
        free = [entry for entry in entries if entry.key not in needed | busy and self.is_ours(entry.folder)]
        old = [entry for entry in free if older_than is not None and time.time() - entry.used >= older_than]
        if old:
            return old[0]
        if sum(entry.size for entry in entries) <= most:
            return None
        if inventory.size(entry.folder for entry in entries) <= most:  # what they share counts once, which takes longer
            return None
        return free[0] if free else None

    def _sweep(self) -> None:
        """Remove what dead processes left: folders without a whole manifest, and half-deleted ones."""
        for path in (*self.folder.glob(".doomed-*"), *self._old_parts()):
            with suppress(OSError):  # its owner is still deleting it
                inventory.remove(path)
        for path in self.folder.glob("[!.]*"):
            if self.is_ours(path) and path.is_dir() and self._is_torn(path.name):
                self.drop(path.name)

    def _old_parts(self) -> Iterator[Path]:
        """Yield the parts of checkpoints that were being fetched a day ago, and never came whole."""
        for path in self.folder.glob(".parts-*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > PARTS_STAY:
                    yield path

    def _is_torn(self, key: str) -> bool:
        """Say whether a checkpoint was not finished, or its manifest is damaged: nobody would ever find it."""
        try:
            text = (self.folder / key / manifest.FILE).read_bytes()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return manifest.decode(text) is None and not manifest.is_of_another_version(text)

    def is_ours(self, path: Path) -> bool:
        """Say whether something in the cache is this user's to delete, and remember it where not."""
        if not inventory.is_foreign(path):
            return True
        if path not in self.foreign:
            self.foreign.append(path)
        return False

    def drop(self, key: str) -> bool:
        """Remove a checkpoint; False where it is in use."""
        lock = self.lock(key)
        if not lock.try_alone():
            return False
        try:
            inventory.remove(self.folder / key)
        finally:
            lock.remove()
        return True

    # ---- for leases -----------------------------------------------------------------------------------------

    def lock(self, key: str) -> Flock:
        """Return the checkpoint's lock."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Flock(self.folder / f"{key}.lock")

    def manifest(self, key: str) -> dict[str, Any] | None:
        """Return what is written about a checkpoint; None where there is none, or a damaged one."""
        try:
            return manifest.decode((self.folder / key / manifest.FILE).read_bytes())
        except OSError:
            return None

    def write(self, key: str, checkpoint: Checkpoint, *, flushed: bool, made_for: Mapping[str, str] = EMPTY) -> None:
        """Write the manifest: from here on the checkpoint counts."""
        folder = self.folder / key
        data: dict[str, Json] = {
            "checkpoint": to_json(checkpoint),
            "made": time.time(),
            "boot": self.boot,
            "flushed": flushed,
            "inventory": inventory.digest(folder, without=manifest.FILE),
            "size": inventory.size([folder]),
            "stands_on": [*sorted(self._others(checkpoint))],
            "needs": {str(path): identity_of(path) for path in self._needs(checkpoint)},
            "made_for": dict(made_for),
        }
        self._write(key, data)

    def write_flushed(self, key: str) -> None:
        """Note that the checkpoint is on the disk by now."""
        if data := self.manifest(key):
            self._write(key, {**data, "flushed": True})

    def _write(self, key: str, data: dict[str, Json]) -> None:
        unfinished = self.folder / f".{key}.manifest"  # not in the checkpoint's folder, of which each file counts
        with replacing(self.folder / key / manifest.FILE, temporary=unfinished) as file:
            file.write(manifest.encode(data).encode())

    def fault(self, key: str) -> str:
        """Return what is wrong with a checkpoint; empty for a good one."""
        data = self.manifest(key)
        if data is None:
            return "it was not finished"
        if not data["flushed"] and data["boot"] != self.boot:
            return "the host went down before it was on the disk"
        if inventory.digest(self.folder / key, without=manifest.FILE) != data["inventory"]:
            return "its files are not what they were"
        for path, identity in data["needs"].items():
            if identity_of(Path(path)) != identity:
                return f"{path}, on which it stands, is gone or was made anew"
        return ""

    def _needs(self, checkpoint: Checkpoint) -> Iterator[Path]:
        """Yield the files outside its folder that its settings name. Made anew, they need not be the same bytes."""
        own = self.folder / checkpoint.key
        for path in paths_in(to_json(checkpoint)):
            if path.is_relative_to(self.work.cache) and not path.is_relative_to(own):
                yield path

    def _others(self, checkpoint: Checkpoint) -> set[str]:
        """Return the other checkpoints among these files."""
        inside = (path.relative_to(self.folder) for path in self._needs(checkpoint) if path.is_relative_to(self.folder))
        return {path.parts[0] for path in inside if path.parts}

    def _used(self, key: str) -> float:
        try:
            return date_of_use((self.folder / f"{key}.lock").stat().st_mtime)
        except FileNotFoundError:
            return 0.0


def paths_in(data: Json) -> Iterator[Path]:
    """Yield the absolute paths among JSON data."""
    match data:
        case str() if data.startswith("/"):
            yield Path(data)
        case list():
            for item in data:
                yield from paths_in(item)
        case dict():
            for item in data.values():
                yield from paths_in(item)
        case _:
            pass


def identity_of(path: Path) -> list[Json] | None:
    """Return what tells a file or folder from one that was made anew; None where there is none."""
    try:
        info = path.stat()
    except OSError:
        return None
    return [info.st_ino, info.st_mtime_ns, info.st_size if path.is_file() else 0]


def boot_id() -> str:
    """Return what Linux calls this run of its kernel; empty elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
