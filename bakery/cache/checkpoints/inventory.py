"""What is in a folder: names, sizes, dates; enough to see that something is missing, cut short or was written to."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bakery.cache.inputs.digest import of_json
from bakery.model import Json
from bakery.util.files import flush as flush_one
from bakery.util.process import run_process
from bakery.util.tools import root
from bakery.util.waiting import Cancel


def entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all that is in a folder, by relative name; links are not followed."""
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as listing:
            for entry in listing:
                yield os.path.relpath(entry.path, folder), entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def digest(folder: Path, *, without: str) -> str:
    """Digest the names, kinds, modes, sizes and dates of all files.

    Args:
        folder: the folder.
        without: a file at its top that does not count.
    """
    seen: dict[str, Json] = {}
    for name, info in entries(folder):
        if name != without:
            plain = stat.S_ISDIR(info.st_mode)
            seen[os.fsencode(name).hex()] = [
                info.st_mode,
                0 if plain else info.st_size,
                0 if plain else info.st_mtime_ns,
            ]
    return of_json(seen)


def size(folders: Iterable[Path], unreadable: list[str] | None = None) -> int:
    """Return the bytes on the disk under some folders; files that are linked to each other count once.

    Args:
        folders: where to look.
        unreadable: gets the folders that this user cannot look into; they count for nothing.
    """
    met: set[tuple[int, int]] = set()
    total = 0
    for folder in folders:
        for info in _counted(folder, unreadable):
            if (info.st_dev, info.st_ino) not in met:
                met.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    return total


def _counted(folder: Path, unreadable: list[str] | None) -> Iterator[os.stat_result]:
    """Yield what can be seen of all that is in a folder; what is removed meanwhile is left out."""

    def skip(error: OSError) -> None:
        if isinstance(error, PermissionError) and unreadable is not None:
            unreadable.append(str(error.filename))

    for here, folders, files in os.walk(folder, onerror=skip):
        for name in (*folders, *files):
            with suppress(OSError):
                yield os.lstat(os.path.join(here, name))  # noqa: PTH118  a tree has many


def flush(folder: Path) -> None:
    """Bring a folder's files to the disk, so that they outlive a power cut."""
    for name, info in entries(folder):
        if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
            flush_one(folder / name, follow=False)
    flush_one(folder)


def remove(folder: Path) -> None:
    """Delete a folder by way of another name, so that nobody meets it half deleted.

    Raises:
        OSError: it cannot be deleted; it is out of the way, though.
    """
    doomed = folder.with_name(f".doomed-{secrets.token_hex(8)}")
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    _delete(doomed)


def _delete(folder: Path) -> None:
    while folder.exists():
        with suppress(FileNotFoundError):  # somebody sweeps up at the same time
            delete_tree(folder)


def delete_tree(folder: Path) -> None:
    """Delete a folder, also one that was made without root, with files of the ids that such a user may give away.

    Raises:
        OSError: it cannot be deleted.
    """
    try:
        shutil.rmtree(folder)
    except PermissionError:
        if not root():
            raise
        run_process([*root(), "rm", "-rf", "--", str(folder)], cancel=Cancel())
        if folder.exists():
            raise


def is_foreign(path: Path) -> bool:
    """Say whether a file or folder is another user's, which this one can neither judge nor delete."""
    try:
        return os.geteuid() not in (0, path.lstat().st_uid)
    except FileNotFoundError:  # removed meanwhile
        return False
