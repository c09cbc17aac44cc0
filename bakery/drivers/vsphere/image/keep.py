"""From a tested image under a temporary name to the user's: the old one steps aside, the new one takes the name."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bakery.drivers.shared.retention import surplus
from bakery.drivers.vsphere.api import inventory, marks, tags, tasks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.machine import machines
from bakery.drivers.vsphere.source import LONGEST_NAME, VSphere
from bakery.errors import DriverError, NotYet
from bakery.model import Artifact
from bakery.state.claim import Claim
from bakery.util.context import WorkContext

ASIDE = "aside"
"""The journal's word for an old image that has made room for the new one; it goes back where that one does not stay."""
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, kw_only=True)
class KeptImage:
    """An image that was kept.

    Args:
        ref: the template or machine.
        name: its name in the inventory.
        created: ISO 8601.
    """

    ref: Any
    name: str
    created: str


def keep(center: VCenter, artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Make the tested image the user's.

    Raises:
        DriverError: vSphere refused, or something that is not ours has the name; the old image is as it was, or gets
            its name back when this claim is undone.
    """
    source = VSphere.from_settings(artifact.settings["source"], base=None)
    machine = center.machine(artifact.id)
    parent = _parent(center, machine)
    for old in _holders(center, parent, name, machine):
        _step_aside(center, parent, old, claim)
    _hand_over(center, machine, source, replace(artifact, name=name), claim)
    machines.rename(center, machine, name, claim)
    claim.commit()
    older(center, source, (name, parent), machine, claim)
    entity = inventory.read(center, machines=True).by_ref(machine)
    data = {**artifact.data, "path": entity.path if entity else name}
    return replace(artifact, name=name, data=data)


def _parent(center: VCenter, machine: Any) -> Any:
    values = center.properties(machine, "parent")
    if values is None:
        raise DriverError("the image is gone", why="somebody destroyed it between its tests and its hand-over")
    if "parent" not in values:
        raise DriverError("the image is in no folder that this user may see")
    return values["parent"]


def _holders(center: VCenter, folder: Any, name: str, new: Any) -> list[KeptImage]:
    """Return what has the name in the folder, which must be of our making."""
    read = marks.Reader(center)
    holders: list[KeptImage] = []
    for ref in machines.in_folder(center, folder, name):
        if moid(ref) == moid(new):
            continue
        carried = read.of(center.properties(ref, *marks.PATHS) or {})
        if carried.get(marks.IMAGE) != name:
            raise DriverError(
                f"the name {name} is taken by something that bakery did not make",
                why=f"machine {moid(ref)}",
                hint="rename it, or give the image another name",
            )
        holders.append(KeptImage(ref=ref, name=name, created=carried.get(marks.CREATED, "")))
    return holders


def aside_name(name: str, created: str) -> str:
    """Return what an older image is called: `web@20261128T224000Z`.

    Args:
        name: the image's.
        created: ISO 8601; now where it cannot be read.
    """
    try:
        made = datetime.fromisoformat(created).astimezone(UTC)
    except ValueError:
        made = datetime.now(UTC)
    stamp = f"@{made:{STAMP}}"
    return f"{name[: LONGEST_NAME - len(stamp)]}{stamp}"


def _step_aside(center: VCenter, folder: Any, old: KeptImage, claim: Claim) -> None:
    own = moid(old.ref)
    aside = aside_name(old.name, old.created)
    if machines.in_folder(center, folder, aside):  # made in the same second
        aside = f"{aside[: LONGEST_NAME - 5]}-{secrets.token_hex(2)}"
    intent = claim.intend(ASIDE, own, name=old.name, aside=aside, **center.record)
    machines.rename(center, old.ref, aside, claim)
    intent.made(own)


def _hand_over(center: VCenter, machine: Any, source: VSphere, image: Artifact, claim: Claim) -> None:
    """Take away the marks of what must not stay, and give it the user's attributes, tags and notes."""
    created = image.created or datetime.now(UTC)
    kept = {
        marks.BUILD: claim.tags.get(marks.BUILD, ""),
        marks.IMAGE: image.name,
        marks.CREATED: created.isoformat(timespec="seconds"),
    }
    in_attributes = marks.set_attributes(center, machine, {**dict.fromkeys(marks.TEMPORARY, ""), **kept})
    if source.attributes and not marks.set_attributes(center, machine, source.attributes):
        raise DriverError("the image cannot be given its attributes=", why="this user may not set custom attributes")
    tags.attach(center, machine, source.tag_names, make=source.make_tags)
    if in_attributes:
        return
    spec = types.vim().vm.ConfigSpec(annotation=marks.notes(source.notes, kept))
    tasks.reconfigure(center, "write the image's notes", machine, spec, claim)


def restore(center: VCenter, old: str, name: str, aside: str, work: WorkContext) -> None:
    """Give an old image its name back, unless something else has it by now.

    Args:
        center: where.
        old: the old image's id.
        name: what it was called.
        aside: what it is called, if it stepped aside.
        work: for the wait.
    """
    machine = center.machine(old)
    values = center.properties(machine, "name", "parent")
    if values is None or values.get("name") != aside:
        return
    if "parent" in values and machines.in_folder(center, values["parent"], name):
        return
    machines.rename(center, machine, name, work)


def older(center: VCenter, source: VSphere, named: tuple[str, Any], new: Any, claim: Claim) -> None:
    """Destroy the older images of a name in a folder beyond those that stay; only images that bakery made.

    Args:
        center: where.
        source: says how many stay.
        named: the name, and the folder. Another source may keep images of the name in another folder.
        new: pyvmomi's reference to the new one.
        claim: for the waits.
    """
    rule = source.keep
    if rule.newest is None:
        return
    for image in surplus(_others(center, *named, new), lambda one: one.created, rule.newest, rule.days):
        if used := users(center, image.ref):
            claim.notice(
                f"the old image {image.name} stays: linked clones stand on it: {', '.join(used)}",
                hint="destroy them first, or make them full clones",
                warning=True,
            )
            continue
        try:
            machines.end(center, image.ref, claim)
        except NotYet as error:
            claim.notice(f"the old image {image.name} stays for now: {error.reason}", warning=True)
            continue
        claim.notice(f"the old image {image.name} is gone")


def _others(center: VCenter, name: str, folder: Any, new: Any) -> list[KeptImage]:
    """Return the other kept images of a name in a folder."""
    vim = types.vim()
    read = marks.Reader(center)
    others: list[KeptImage] = []
    for ref, values in center.all({vim.VirtualMachine: ("name", "parent", *marks.PATHS)}):
        carried = read.of(values)
        here = "parent" in values and moid(values["parent"]) == moid(folder)
        if not here or carried.get(marks.IMAGE) != name or carried.get(marks.EXPIRES) or moid(ref) == moid(new):
            continue
        others.append(KeptImage(ref=ref, name=str(values.get("name")), created=carried.get(marks.CREATED, "")))
    return others


def users(center: VCenter, image: Any) -> list[str]:
    """Return the names of machines whose disks stand on an image's."""
    vim = types.vim()
    hardware = (center.properties(image, "config.hardware") or {}).get("config.hardware")
    own = {file for disk in _disks(hardware) for file in _chain(disk.backing)}
    found: list[str] = []
    for ref, values in center.all({vim.VirtualMachine: ("name", "config.hardware")}):
        if moid(ref) == moid(image):
            continue
        below = (file for disk in _disks(values.get("config.hardware")) for file in _chain(_parent_of(disk.backing)))
        if own.intersection(below):
            found.append(str(values.get("name")))
    return found


def _disks(hardware: Any) -> Iterable[Any]:
    vim = types.vim()
    devices = hardware.device if hardware is not None else ()
    return [device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]


def _parent_of(backing: Any) -> Any:
    return getattr(backing, "parent", None)


def _chain(backing: Any) -> Iterator[str]:
    """Yield the file of a disk, and of all that it stands on."""
    while backing is not None:
        if file := getattr(backing, "fileName", ""):
            yield str(file)
        backing = _parent_of(backing)


def delete(center: VCenter, artifact: Artifact, work: WorkContext) -> None:
    """Destroy a kept image.

    Raises:
        DriverError: linked clones stand on it.
    """
    machine = center.machine(artifact.id)
    if center.properties(machine, "name") is None:
        return
    if used := users(center, machine):
        raise DriverError(f"the image {artifact.name} is in use", why=f"linked clones stand on it: {', '.join(used)}")
    machines.end(center, machine, work)
