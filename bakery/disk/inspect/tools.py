"""Running the tools that read disks, none of which needs root, a loop device or a mount."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Final

from bakery.errors import DriverError, PreflightError
from bakery.util.process import run_process
from bakery.util.waiting import Cancel

PACKAGES: Final[Mapping[str, str]] = {
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "blkid": "util-linux",
    "debugfs": "e2fsprogs",
}
"""The tools, and the Debian packages that have them."""
_SBIN: Final = ":/usr/local/sbin:/usr/sbin:/sbin"


def find(tool: str) -> str | None:
    """Return a tool's path; those for administrators count too."""
    return shutil.which(tool, path=os.environ.get("PATH", os.defpath) + _SBIN)


def run(words: Sequence[str], cancel: Cancel, *, text: str = "", accept: tuple[int, ...] = (0,)) -> str:
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
    program = find(words[0])
    if program is None:
        package = PACKAGES.get(words[0], words[0])
        raise PreflightError(f"{words[0]} is missing on this host", hint=f"apt-get install {package}")
    env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBUGFS_PAGER": "cat", "PAGER": "cat"}
    result = run_process([program, *words[1:]], cancel=cancel, input=text.encode(errors="surrogateescape"), env=env)
    if result.exited not in accept:
        raise DriverError(f"{words[0]} cannot read the image", why=result.stderr.strip() or result.stdout[-2000:])
    return result.stdout
