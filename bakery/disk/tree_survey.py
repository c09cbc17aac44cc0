"""What `mke2fs -d` does not keep of a tree: found by a process of its own, which may be root in a user namespace.

python -m bakery.disk.tree_survey TREE
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bakery.util.extents import is_full

SECOND = 1_000_000_000
MADE = (stat.S_IFDIR | 0o755, 0, 0)
"""Mode, owner and group of the root folder that mke2fs makes."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What has to be put right in a file system that `mke2fs -d` filled. Paths begin with a slash.

    Args:
        full: path and bytes of files without holes: mke2fs makes a hole of every block of zeros.
        times: path, last access and last change in nanoseconds since the epoch, where the change has a fraction of a
            second or a second that 32 bits do not hold: mke2fs keeps 32 bits of seconds.
        links: names of one symbolic link: mke2fs makes a link of its own of each.
        top: mode, owner and group of the root folder: mke2fs makes one of its own, with a date of its own.
    """

    full: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    times: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    links: list[list[str]] = field(default_factory=list[list[str]])
    top: tuple[int, int, int] = MADE

    @classmethod
    def from_json(cls, text: bytes) -> Survey:
        """Read what `main` wrote."""
        lists: dict[str, list[Any]] = json.loads(text)
        return cls(
            full=[(path, size) for path, size in lists["full"]],
            times=[(path, accessed, changed) for path, accessed, changed in lists["times"]],
            links=lists["links"],
            top=(lists["top"][0], lists["top"][1], lists["top"][2]),
        )


def survey(tree: Path) -> Survey:
    """Look at every name in a tree."""
    top = tree.lstat()
    repairs, seen = Survey(top=(top.st_mode, top.st_uid, top.st_gid)), set[int]()
    symlinks: dict[int, list[str]] = {}
    for path, status in _walk(tree, ""):
        if stat.S_ISLNK(status.st_mode) and status.st_nlink > 1:
            symlinks.setdefault(status.st_ino, []).append(path)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        if status.st_size and is_full(status):
            repairs.full.append((path, status.st_size))
        if path == "/" or _is_cut(status.st_mtime_ns):
            repairs.times.append((path, status.st_atime_ns, status.st_mtime_ns))
    repairs.links.extend(names for names in symlinks.values() if len(names) > 1)
    return repairs


def _is_cut(moment: int) -> bool:
    seconds, rest = divmod(moment, SECOND)
    return rest != 0 or not -(1 << 31) <= seconds < 1 << 31


def _walk(folder: Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    yield name or "/", folder.lstat()
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(Path(entry.path), f"{name}/{entry.name}")
            else:
                yield f"{name}/{entry.name}", status


def main() -> None:
    """Write the survey of the tree that the first argument names to standard output, as JSON."""
    json.dump(asdict(survey(Path(sys.argv[1]))), sys.stdout)


if __name__ == "__main__":
    main()
