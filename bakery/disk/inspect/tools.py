"""Running the tools that read disks, none of which needs root, a loop device or a mount."""

from __future__ import annotations

import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Final

from bakery.errors import PreflightError
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel

PACKAGES: Final[Mapping[str, str]] = {
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "blkid": "util-linux",
    "debugfs": "e2fsprogs",
}
"""The tools, and the Debian packages that have them."""
PATIENCE: Final = 3600.0
"""Seconds: unpacking and listing a large disk takes minutes on a slow host."""


def find(tool: str) -> str | None:
    """Return a tool's path; those for administrators count too."""
    return shutil.which(tool, path=tools.search_path())


def run(words: Sequence[str], cancel: Cancel, *, text: str = "", accept: Container[int] = (0,)) -> str:
    """Run a tool and return what it wrote.

    Args:
        words: the tool's name and its arguments.
        cancel: ends it.
        text: its standard input.
        accept: exit codes that are no failure.

    Raises:
        PreflightError: it is not installed.
        DriverError: it failed.
    """
    if find(words[0]) is None:
        package = PACKAGES.get(words[0], words[0])
        raise PreflightError(f"{words[0]} is missing on this host", hint=f"apt-get install {package}")
    told = tools.run(
        words,
        WorkContext(cache=Path(), cancel=cancel),
        what=f"reading the image with {words[0]}",
        stdin=text.encode(errors="surrogateescape"),
        env={"DEBUGFS_PAGER": "cat", "PAGER": "cat"},
        accept=accept,
        timeout=PATIENCE,
    )
    return told.decode(errors="replace")
