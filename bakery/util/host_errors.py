"""What is the fault of this host, and no defect of ours: a full disk, a folder that nobody may write to."""

from __future__ import annotations

import shutil
from errno import EACCES, EDQUOT, EFBIG, EIO, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Final

from bakery.errors import PreflightError

SPACE: Final = "free some space, run `bake cache prune` and `bake prune`, or set BAKERY_CACHE_DIR to a larger disk"
RIGHTS: Final = "bakery writes to .bakery beside the imagefile and to its cache; BAKERY_CACHE_DIR names another folder"
KNOWN: Final = {
    ENOSPC: ("the disk is full", SPACE),
    EDQUOT: ("the quota of disk space is used up", SPACE),
    EFBIG: ("the file is too large for its file system, or for `ulimit -f`", SPACE),
    EROFS: ("the file system cannot be written to: it is read-only", RIGHTS),
    EACCES: ("the folder cannot be written to", RIGHTS),
    EPERM: ("the folder cannot be written to", RIGHTS),
    ENOTDIR: ("the folder cannot be made: a file is in its way", RIGHTS),
    EIO: ("the disk fails", "the kernel's log says more: `dmesg`"),
}
FULL: Final = 16 << 20
"""Bytes free of a disk on which nothing can be built any more."""


def no_space(folder: Path) -> bool:
    """Say whether the disk under a folder is full: what failed on it most likely failed for that."""
    return shutil.disk_usage(folder).free < FULL


def trouble(error: BaseException) -> PreflightError | None:
    """Explain an error of the operating system; None where it is none of those that a host is known for."""
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str | Path):
        return _removed(Path(error.filename), error)
    if not isinstance(error, OSError) or error.errno not in KNOWN:
        return None
    what, hint = KNOWN[error.errno]
    return PreflightError(f"{what}: {error.filename}" if error.filename else what, why=str(error), hint=hint)


def _removed(path: Path, error: FileNotFoundError) -> PreflightError | None:
    """Explain that a folder of a run is gone, which bakery made and does not remove while the run goes on."""
    gone = next((folder for folder in reversed(path.parents) if not folder.exists()), None)
    if gone is None or ".bakery" not in path.parts:
        return None
    hint = "leave .bakery alone while bake runs: no `git clean -x`, no task that empties the project"
    return PreflightError(f"{gone} was removed while the run used it", why=str(error), hint=hint)
