"""From a tested item under a temporary name to the user's: as a new version of the older item, or in its place."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from bakery.drivers.shared.retention import surplus
from bakery.drivers.vsphere.api import libraries, marks
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.libraries import LibraryEntry
from bakery.drivers.vsphere.image import library
from bakery.drivers.vsphere.image.keep import aside_name
from bakery.drivers.vsphere.machine import machines
from bakery.drivers.vsphere.source import LONGEST_NAME, VSphere
from bakery.errors import DriverError
from bakery.model import Artifact, Resource
from bakery.state.claim import Claim

ASIDE: Final = "library aside"
"""The journal's word for an older item that has made room; it gets its name back where the new one does not stay."""


class NameTakenError(DriverError):
    """An item that is not ours has the image's name."""


@dataclass(frozen=True, kw_only=True)
class ItemKeep:
    """One item's way to its name.

    Args:
        center: where.
        source: what the user asked for.
        artifact: the tested image, with its final name.
        claim: for the image.
    """

    center: VCenter
    source: VSphere
    artifact: Artifact
    claim: Claim

    @property
    def library(self) -> str:
        """The library's id."""
        return str(self.artifact.data["library"])

    @property
    def description(self) -> str:
        """The item's, once it is kept."""
        build = {marks.BUILD: self.claim.tags.get(marks.BUILD, "")}
        return library.described(self.source, self.artifact, build)


def keep(center: VCenter, artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Make the tested item the user's.

    An older OVF of the name of which no version is to stay gets a new version: whoever knows it by its id finds the
    new one. Otherwise the older item steps aside.

    Raises:
        DriverError: vSphere refused, or something that is not ours has the name.
    """
    source = VSphere.from_settings(artifact.settings["source"], base=None)
    job = ItemKeep(center=center, source=source, artifact=replace(artifact, name=name), claim=claim)
    olds = list(holders(center, job.library, name, artifact.id))
    in_place = artifact.format == library.OVF and source.keep.newest == 0 and not source.keep.days
    if in_place and len(olds) == 1:
        return _new_version(job, olds[0])
    for old in olds:
        _step_aside(job, old)
    _mark_template(job)
    libraries.change(center, artifact.id, {"name": name, "description": job.description})
    _end_machine(job)
    claim.commit()
    _older(job)
    return _kept(job, artifact.id)


def holders(center: VCenter, own: str, name: str, new: str) -> Iterator[LibraryEntry]:
    """Yield the items of a library that have a name, which must be of our making.

    Args:
        center: where.
        own: the library's id.
        name: the name.
        new: the id of the item that is to get it.

    Raises:
        NameTakenError: one is not.
    """
    for item in libraries.items_called(center, own, name):
        entry = libraries.entry(center, item) if item != new else None
        if entry is None:
            continue
        if marks.lines(entry.description).get(marks.IMAGE) != name:
            raise NameTakenError(
                f"the name {name} is taken in the content library by something that bakery did not make",
                why=f"item {item}",
                hint="rename it, or give the image another name",
            )
        yield entry


def _new_version(job: ItemKeep, old: LibraryEntry) -> Artifact:
    """Write the machine into the older item; the tested item and the machine go before it is the user's."""
    center, claim = job.center, job.claim
    machine = center.machine(str(job.artifact.data["machine"]))
    words = {"name": old.name, "description": job.description}
    written = library.ItemJob(center=center, source=job.source, machine=machine, claim=claim)
    library.store_ovf(written, {"library_item_id": old.id}, words)
    libraries.change(center, old.id, {"description": job.description})
    libraries.delete(center, job.artifact.id)
    _end_machine(job)
    claim.commit()
    claim.notice(f"the item {old.name} has a new version")
    return _kept(job, old.id)


def _step_aside(job: ItemKeep, old: LibraryEntry) -> None:
    aside = aside_name(old.name, marks.lines(old.description).get(marks.CREATED, ""))
    if libraries.items_called(job.center, job.library, aside):  # made in the same second
        aside = f"{aside[: LONGEST_NAME - 5]}-{secrets.token_hex(2)}"
    record: dict[str, Any] = {"name": old.name, "aside": aside, "library": job.library}
    intent = job.claim.intend(ASIDE, old.id, **record, **job.center.record)
    libraries.change(job.center, old.id, {"name": aside})
    intent.made(old.id)


def _mark_template(job: ItemKeep) -> None:
    """Say of the template that vCenter keeps for an item that it is the user's: `bake gc` goes by its marks.

    Raises:
        DriverError: it cannot be marked.
    """
    if job.artifact.format != library.TEMPLATE:
        return
    values = {
        **dict.fromkeys(marks.TEMPORARY, ""),
        marks.IMAGE: job.artifact.name,
        marks.BUILD: job.claim.tags.get(marks.BUILD, ""),
    }
    for template in machines.called(job.center, str(job.artifact.settings["item"])):
        if not marks.set_attributes(job.center, template, values):
            raise DriverError(
                "the item's template cannot be marked as an image",
                why="this user may not set custom attributes",
                hint="grant Global.SetCustomField and Global.ManageCustomFields, or image='library-ovf'",
            )


def _end_machine(job: ItemKeep) -> None:
    """Destroy the machine that an OVF was written from."""
    if own := str(job.artifact.data.get("machine") or ""):
        machines.end(job.center, job.center.machine(own), job.claim)


def _older(job: ItemKeep) -> None:
    """Delete the older items of the name beyond those that stay."""
    rule = job.source.keep
    if rule.newest is None:
        return
    others = list(_others(job))
    for old in surplus(others, lambda one: marks.lines(one.description)[marks.CREATED], rule.newest, rule.days):
        libraries.delete(job.center, old.id)
        job.claim.notice(f"the old item {old.name} is gone")


def _others(job: ItemKeep) -> Iterator[LibraryEntry]:
    for entry in libraries.entries(job.center, job.library):
        carried = marks.lines(entry.description)
        is_ours = carried.get(marks.IMAGE) == job.artifact.name and marks.CREATED in carried
        if is_ours and marks.EXPIRES not in carried and entry.id != job.artifact.id:
            yield entry


def _kept(job: ItemKeep, item: str) -> Artifact:
    entry = libraries.entry(job.center, item)
    kept = library.renamed(job.artifact, item, job.artifact.name)
    version = entry.version if entry else ""
    return replace(kept, size=entry.size if entry and entry.size else None, data={**kept.data, "version": version})


def destroy(center: VCenter, record: Resource) -> None:
    """Delete an item that was not kept: that of our name, and that of its id, unless its name is somebody's."""
    found = set(libraries.items_called(center, str(record.data["library"]), record.key))
    if record.id:
        entry = libraries.entry(center, record.id)
        if entry is not None and entry.name in {record.key, record.data.get("final")}:
            found.add(record.id)
    for item in found:
        libraries.delete(center, item)


def restore(center: VCenter, record: Resource) -> None:
    """Give an older item its name back, unless something else has it by now."""
    entry = libraries.entry(center, record.key)
    name = str(record.data["name"])
    taken = libraries.items_called(center, str(record.data["library"]), name)
    if entry is not None and entry.name == record.data["aside"] and not taken:
        libraries.change(center, record.key, {"name": name})


def intact(center: VCenter, artifact: Artifact) -> bool:
    """Say whether a kept item is still there under its name, with the content that it was given."""
    entry = libraries.entry(center, artifact.id)
    if entry is None or entry.name != artifact.name:
        return False
    return not artifact.data.get("version") or entry.version == artifact.data["version"]
