"""From a tested image under a temporary name to the user's: swapped in by one rename, with older ones beside it."""

from __future__ import annotations

from bakery.disk import image_files
from bakery.drivers.shared.older_files import older, set_aside
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.model import Artifact
from bakery.state.claim import Claim


def keep(artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Give an image its final name; the old one gets its time behind its name, where it is to stay."""
    count = VirtualBox.from_settings(artifact.settings).keep
    final = artifact.path.with_name(f"{name}.{artifact.format}")
    if count:
        set_aside(final)
    kept = image_files.keep(artifact, name)
    claim.commit()
    for old in older(final)[count:]:
        old.unlink(missing_ok=True)
        claim.notice(f"the old image {old.name} is gone")
    return kept
