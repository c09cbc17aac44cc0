"""Whose files they are: what `sudo bake` makes inside of a user's project belongs to that user.

Otherwise one run with sudo would leave a project in which its owner can neither build nor look at a report. Machines'
files are left as they are: in them, owners mean something.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_TREES: Final = frozenset({"machines"})
"""Folders of a run of which only the names and the plain files at the top are handed over."""


def hand_over(paths: Iterable[Path], owner_of: Path) -> None:
    """Give files and folders to the owner of a folder, where root works for that user; else do nothing.

    Links are never followed, and what lies in a machine's folder deeper than its own files is left alone.

    Args:
        paths: what was made; folders with what is in them.
        owner_of: the folder in whose name it was made.
    """
    if _user_behind_sudo(owner_of) is not None:
        hand_over_alone((name for path in paths for name in _inside(path)), owner_of)


def hand_over_alone(paths: Iterable[Path], owner_of: Path) -> None:
    """Do the same for files and folders without what is in them.

    Args:
        paths: what was made.
        owner_of: the folder in whose name it was made.
    """
    owner = _user_behind_sudo(owner_of)
    if owner is not None:
        for name in paths:
            with suppress(OSError):  # it is gone, or its file system has no owners
                info = name.lstat()
                if info.st_uid == 0 and (info.st_nlink == 1 or not stat.S_ISREG(info.st_mode)):
                    os.chown(name, *owner, follow_symlinks=False)  # no other name of it lies elsewhere


def _user_behind_sudo(folder: Path) -> tuple[int, int] | None:
    """Return the owner of a folder where they are who called sudo."""
    if os.geteuid() != 0 or not os.environ.get("SUDO_UID", "").isdigit():
        return None
    try:
        info = folder.stat()
    except OSError:
        return None
    return (info.st_uid, info.st_gid) if info.st_uid == int(os.environ["SUDO_UID"]) != 0 else None


def _inside(path: Path) -> Iterator[Path]:
    yield path
    if path.is_symlink() or not path.is_dir():
        return
    for folder, folders, files in os.walk(path, followlinks=False):
        here = Path(folder)
        yield from (here / name for name in (*folders, *files))
        if here.parent.name in _TREES:
            folders.clear()
