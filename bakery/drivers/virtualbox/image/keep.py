"""From a tested image under a temporary name to the user's: swapped in by one rename, with older ones beside it."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bakery.disk import image_files
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.model import Artifact
from bakery.state.claim import Claim

STAMP = "%Y%m%dT%H%M%SZ"


def keep(artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Give an image its final name; the old one gets its time behind its name, where it is to stay."""
    count = VirtualBox.from_settings(artifact.settings).keep
    final = artifact.path.with_name(f"{name}.{artifact.format}")
    if count:
        _set_aside(final)
    kept = image_files.keep(artifact, name)
    claim.commit()
    for old in older(final)[count:]:
        old.unlink(missing_ok=True)
        claim.notice(f"the old image {old.name} is gone")
    return kept


def _set_aside(final: Path) -> None:
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
