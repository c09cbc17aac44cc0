"""Paths in a tree that is somebody else's root: links in it mean its own files, never this host's."""

from __future__ import annotations

import os
from collections import deque
from errno import ELOOP
from pathlib import Path, PurePosixPath

LINKS = 40
"""As many links on one way the kernel follows, too."""


def inside(tree: Path, path: str) -> Path:
    """Return where a path of the tree is on this host, as a process would see it whose root is `tree`.

    A link to `/etc/x` is `TREE/etc/x`, and no `..` leads out. Names that are not there stay as they are.

    Args:
        tree: the root folder; links on the way to it are this host's.
        path: in the tree, with or without a slash in front.

    Raises:
        OSError: links lead in a circle.
    """
    place, pending, links = tree, deque(PurePosixPath(path).parts), 0
    while pending:
        name = pending.popleft()
        if name.startswith("/"):
            place = tree
        elif name == "..":
            place = tree if place == tree else place.parent
        elif (place / name).is_symlink():
            links += 1
            if links > LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP), path)
            pending.extendleft(reversed((place / name).readlink().parts))
        else:
            place = place / name
    return place
