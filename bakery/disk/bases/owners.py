"""Whose files a tree of many owners consists of: the ids of this host that stand for the owners inside.

What root makes belongs to the ids that it has in the image. What somebody else makes belongs to that user and to ids
of /etc/subuid: in their user namespace it looks the same, to root or another user it is a tree of wrong owners.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MUST_BE_ROOTS: Final = (
    "",
    "bin",
    "sbin",
    "lib",
    "etc",
    "usr",
    "var",
    "boot",
    "root",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "var/lib",
    "etc/passwd",
    "etc/group",
    "etc/shadow",
    "etc/sudoers",
    "usr/bin/passwd",
    "usr/bin/su",
    "usr/bin/mount",
)
"""Paths of root's in every system, as far as they are there."""
TABLES: Final = (Path("/etc/subuid"), Path("/etc/subgid"))


def mapping() -> str:
    """Return a text that is equal for whoever sees the same owners in one tree: empty for root."""
    if os.geteuid() == 0:
        return ""
    user = _name(os.geteuid())
    ranges = (",".join(_ranges(table, user)) for table in TABLES)
    return f"{os.geteuid()}:{os.getegid()} {' '.join(ranges)}"


def suffix() -> str:
    """Return the part of a folder's name that says for whom the tree in it is; empty for root."""
    text = mapping()
    return f"-for-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if text else ""


def wrong(tree: Path) -> str:
    """Say which path of a tree is not what it must be for whoever we are; empty when all of them are.

    Args:
        tree: its root folder.
    """
    if not tree.is_dir():
        return f"{tree} is not there"
    for name in MUST_BE_ROOTS:
        try:
            status = (tree / name).lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"/{name} cannot be looked at: {error.strerror}"
        if status.st_uid != os.geteuid():
            return f"/{name} must be root's, which here is the user id {os.geteuid()}, and belongs to {status.st_uid}"
    return ""


def witness(tree: Path) -> str:
    """Digest names, owners and modes of the upper folders: what a `chown -R` or an `rm` of somebody's changes.

    Args:
        tree: its root folder.
    """
    state = hashlib.blake2b(digest_size=16)
    for path in _upper(tree):
        status = path.lstat()
        looks = (str(path.relative_to(tree)), status.st_uid, status.st_gid, status.st_mode)
        state.update(repr(looks).encode(errors="surrogateescape"))
    return state.hexdigest()


def _upper(tree: Path) -> Iterator[Path]:
    """Yield the tree's folder, what is in it, and what is in those folders: 200 names, a matter of milliseconds."""
    yield tree
    for path in _inside(tree):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _inside(path)


def _inside(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except PermissionError:  # of an owner who is not us, as we see him from outside of the user namespace
        return ()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _ranges(table: Path, user: str) -> Iterator[str]:
    """Yield the ranges of a user in a table of subid(5), whether named there by name or by number."""
    if not table.exists():
        return
    for line in table.read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name in {user, str(os.geteuid())}:
            yield numbers.strip()
