"""Older images that are files: `web@20261128T224000Z.ova` beside the new `web.ova`."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

STAMP = "%Y%m%dT%H%M%SZ"


def set_aside(final: Path) -> None:
    """Give the old image a second name; under its first one it stays until the new one takes that over."""
    with suppress(FileNotFoundError, FileExistsError):
        made = datetime.fromtimestamp(final.stat().st_mtime, UTC)
        aside = final.with_name(f"{final.stem}@{made:{STAMP}}{final.suffix}")
        aside.hardlink_to(final)


def older(final: Path) -> list[Path]:
    """Return the older images of a name, the newest first."""
    pattern = re.compile(rf"{re.escape(final.stem)}@\d{{8}}T\d{{6}}Z{re.escape(final.suffix)}")
    if not final.parent.is_dir():
        return []
    return sorted((path for path in final.parent.iterdir() if pattern.fullmatch(path.name)), reverse=True)


def made(older_image: Path) -> str:
    """Return when an older image was made, in ISO 8601, as its name says."""
    return datetime.strptime(older_image.stem.rpartition("@")[2], STAMP).replace(tzinfo=UTC).isoformat()
