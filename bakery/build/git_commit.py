"""The commit that an imagefile was built from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bakery.util.process import run_process
from bakery.util.results import TimedOut
from bakery.util.waiting import Cancel

PATIENCE: Final = 5.0
"""Seconds that git may take to look at the working tree."""


def commit_of(folder: Path, cancel: Cancel) -> str:
    """Return the commit of a folder's git repository, with `+` where files differ; empty where there is none."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return ""
    try:
        head = run_process(["git", "-C", str(folder), "rev-parse", "HEAD"], cancel=cancel, timeout=PATIENCE)
        state = ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"]
        differs = run_process(state, cancel=cancel, timeout=PATIENCE).stdout.strip() if head.exited == 0 else ""
    except (OSError, TimedOut):  # no git here, or a tree of millions of files
        return ""
    commit = head.stdout.strip() if head.exited == 0 else ""
    return f"{commit}+" if commit and differs else commit
