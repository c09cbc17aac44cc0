"""Appliances that were exported: files of this host, kept by one rename, with older ones beside the new one."""

from __future__ import annotations

from bakery.disk import image_files
from bakery.drivers.shared import older_files
from bakery.drivers.shared.retention import surplus
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Artifact
from bakery.state.claim import Claim


def keep(artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Give an appliance its final name; the old one gets its time behind its name, where it is to stay."""
    rule = VSphere.from_settings(artifact.settings["source"], base=None).keep
    final = artifact.path.with_name(f"{name}.{artifact.format}")
    if rule.newest != 0 or rule.days:
        older_files.set_aside(final)
    kept = image_files.keep(artifact, name)
    claim.commit()
    if rule.newest is not None:
        for old in surplus(older_files.older(final), older_files.made, rule.newest, rule.days):
            old.unlink(missing_ok=True)
            claim.notice(f"the old image {old.name} is gone")
    return kept
