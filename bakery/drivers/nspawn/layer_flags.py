"""chattr(1)'s attributes of several layers as one: an overlay that is mounted for reading does not show them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bakery.drivers.nspawn.layers import is_opaque
from bakery.util import inode_flags


def merged_flags(layers: Sequence[Path]) -> dict[str, int]:
    """Return the attributes of files and folders by their path in the machine, as in `bakery.util.inode_flags`.

    Args:
        layers: topmost first. Files that we may not read, in those of a user namespace, count as having none.
    """
    merged: dict[str, int] = {}
    for layer in reversed(layers):
        for path, name, replaces in _walk(layer, ""):
            if replaces:
                for known in [known for known in merged if f"{known}/".startswith(f"{name}/")]:
                    del merged[known]
            with suppress(OSError):
                if flags := inode_flags.in_layer(path):
                    merged[name or "/"] = flags
    return merged


def _walk(folder: Path, name: str) -> Iterator[tuple[Path, str, bool]]:
    """Yield the path and the name of all that a layer has, and whether it hides what lies below it."""
    yield folder, name, is_opaque(folder)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        return
    for entry in entries:
        if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
            yield from _walk(Path(entry.path), f"{name}/{entry.name}")
        else:
            yield Path(entry.path), f"{name}/{entry.name}", True
