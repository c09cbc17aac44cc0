"""The cache's larger half: bases and downloads, each a folder with its lock in it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bakery.cache.checkpoints import inventory
from bakery.cache.checkpoints.store import LIMIT, Store, size_limit
from bakery.util.durations import date_of_use
from bakery.util.files import write_whole

KINDS: Final = ("appliances", "bases", "downloads")
LOCK: Final = "lock"
HALF_MADE: Final = (".new", ".disk-*", ".tree-*", ".inspect-*", "disk.part")
"""Names of what is not finished, as `bakery.disk.bases.generations` and `bakery.disk.build` give them."""


@dataclass(frozen=True, kw_only=True)
class BaseEntry:
    """A base or a download in the cache.

    Args:
        name: `bases/debian-bookworm-...`.
        size: bytes on the disk.
        used: when it was last asked for, in seconds since the epoch.
        folder: where it is.
    """

    name: str
    size: int
    used: float
    folder: Path


def ls(cache: Path) -> list[BaseEntry]:
    """Return all bases and downloads, the least recently used first."""
    return sorted(_entries(cache, lambda _: True), key=lambda entry: entry.used)


def _entries(cache: Path, wanted: Callable[[Path], bool]) -> Iterator[BaseEntry]:
    for kind in KINDS:
        for folder in (cache / kind).glob("[!.]*"):
            if not (os.access(folder, os.R_OK | os.X_OK) and wanted(folder)):
                continue
            lock = folder / LOCK
            if lock.is_file() and any(path.name != LOCK for path in folder.iterdir()):
                name, used = f"{kind}/{folder.name}", date_of_use(lock.stat().st_mtime)
                yield BaseEntry(name=name, size=inventory.size([folder]), used=used, folder=folder)


def limit(environ: Mapping[str, str]) -> int:
    """Say how many bytes bases and downloads may take: `BAKERY_BASES_LIMIT` (`20G`, `500M`), else 20 GiB.

    Raises:
        ImagefileError: it is no size.
    """
    return size_limit(environ, "BAKERY_BASES_LIMIT", LIMIT)


def prune(
    store: Store, older_than: float | None = None, *, keep_bytes: int | None = None, dry_run: bool = False
) -> list[BaseEntry]:
    """Remove bases and downloads that were not asked for lately. What is in use, or under a checkpoint, stays.

    Args:
        store: the same cache's checkpoints.
        older_than: seconds; None where their age is no reason.
        keep_bytes: bytes that may stay, those used last; None where their size is no reason.
        dry_run: only say which would go.

    Returns:
        What was removed, or would be.
    """
    most = keep_bytes if keep_bytes is not None else sys.maxsize
    entries = sorted(_entries(store.work.cache, store.is_ours), key=lambda entry: entry.used)
    old = [entry for entry in entries if older_than is not None and time.time() - entry.used >= older_than]
    return _prune(store, entries, old, most, dry_run=dry_run)


def fit(store: Store, most: int) -> list[BaseEntry]:
    """Prune to a limit, unless all fitted the last time and nothing came since: measuring looks at every file.

    Args:
        store: the same cache's checkpoints.
        most: bytes that bases and downloads may take.

    Returns:
        What was removed.
    """
    cache = store.work.cache
    note, seen = cache / f".fitted-{os.getuid()}", json.dumps([most, *_seen(cache)])
    with suppress(OSError, UnicodeDecodeError):  # none yet, or not one of ours
        if note.read_text(encoding="utf-8") == seen:
            return []
    entries = sorted(_entries(cache, store.is_ours), key=lambda entry: entry.used)
    gone = _prune(store, entries, [], most)
    if sum(entry.size for entry in entries) <= most:
        with suppress(OSError):  # then it is measured again
            write_whole(note, seen)
    return gone


def _seen(cache: Path) -> Iterator[tuple[str, int]]:
    """Yield the folders in which things come and go, each with its date in nanoseconds."""
    for kind in KINDS:
        for folder in sorted((cache / kind).glob("[!.]*")):
            with suppress(OSError):  # it went just now, or is another user's
                yield str(folder), folder.stat().st_mtime_ns
                yield from ((str(path), path.stat().st_mtime_ns) for path in sorted(folder.iterdir()) if path.is_dir())


def _prune(
    store: Store, entries: list[BaseEntry], old: list[BaseEntry], most: int, *, dry_run: bool = False
) -> list[BaseEntry]:
    """Remove the old ones, and of the rest the least recently used until it fits."""
    too_much = sum(entry.size for entry in entries) - most
    if not old and too_much <= 0:
        return []
    needed = [*_open_files(), *_under_checkpoints(store)]
    gone: list[BaseEntry] = []
    for entry in entries:
        if any(path.is_relative_to(entry.folder.resolve()) for path in needed):
            continue
        if (entry in old or too_much > 0) and (dry_run or _empty(entry.folder)):
            too_much -= entry.size
            gone.append(entry)
    return gone


def sweep(cache: Path, *, dry_run: bool = False) -> list[str]:
    """Remove what processes that were killed left half made among the bases.

    Args:
        cache: the shared cache folder.
        dry_run: only say what would go.

    Returns:
        What is gone, or would go: `bases/disk-.../.new`. Where another process is at work nothing is looked at.
    """
    gone: list[str] = []
    for folder in (cache / "bases").glob("[!.]*"):
        if inventory.is_foreign(folder) or not _half_made(folder):
            continue
        with _held(folder) as held:
            for path in _half_made(folder) if held else ():
                with suppress(OSError):  # files of many owners: whoever makes this base next removes them
                    if not dry_run:
                        _remove(path)
                    gone.append(str(path.relative_to(cache)))
    return sorted(gone)


def _half_made(folder: Path) -> list[Path]:
    """Return what is in a base's folder only while somebody works on it, or was when he was killed."""
    paths = [path for pattern in HALF_MADE for path in (*folder.glob(pattern), *folder.glob(f"*/{pattern}"))]
    tree = folder / "tree"  # of an image: it is made in place, and a note beside it says that it is whole
    unpacked = folder.name.startswith("image-") and tree.is_dir()
    return [*paths, tree] if unpacked and not (folder / "ready.json").exists() else paths


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        inventory.delete_tree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _held(folder: Path) -> Generator[bool]:
    """Hold a base's lock, and say whether we do; its date, which says when it was last asked for, stays."""
    from filelock import FileLock, Timeout  # slow to import

    path = folder / LOCK
    if not path.exists():
        yield False
        return
    status = path.stat()
    lock = FileLock(path, timeout=0, preserve_lock_file=True)
    try:
        with lock:
            yield True
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    except Timeout:
        yield False


def _empty(folder: Path) -> bool:
    """Delete what is in a folder but its lock, which others may be waiting for; False where it is held."""
    from filelock import FileLock, Timeout  # slow to import

    lock = FileLock(folder / LOCK, timeout=0, preserve_lock_file=True)
    try:
        with lock:
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    inventory.delete_tree(path)
                elif path.name != LOCK:
                    path.unlink()
    except Timeout:
        return False
    return True


def _open_files() -> Iterator[Path]:
    """Yield what processes have open, and what is mounted: machines run on bases that nobody holds a lock of."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for link in (process / "fd").iterdir():
                yield link.readlink()
            yield from _mounted((process / "mountinfo").read_text())
        except OSError:
            continue  # it ended, or is another user's and cannot use a private cache


def _mounted(text: str) -> Iterator[Path]:
    for line in text.splitlines():
        for option in line.rpartition(" ")[2].split(","):
            if option.startswith("lowerdir="):
                yield from (Path(path) for path in option.removeprefix("lowerdir=").split(":") if path)


def _under_checkpoints(store: Store) -> Iterator[Path]:
    for entry in store.ls():
        manifest = store.manifest(entry.key) or {"needs": ()}
        yield from (Path(path).resolve() for path in manifest["needs"])
