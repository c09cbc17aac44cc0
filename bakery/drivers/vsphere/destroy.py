"""Destroy from the record alone: by id where it is known and still ours, and by the name that we chose in any case."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bakery.drivers.shared.waiting import until_gone
from bakery.drivers.vsphere.api import datastore_files, tasks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.datastore_files import DatastorePath
from bakery.drivers.vsphere.api.errors import VSphereRetryableError
from bakery.drivers.vsphere.image import keep, keep_item, library
from bakery.drivers.vsphere.image.capture import IMAGE
from bakery.drivers.vsphere.machine import machines, place, seed_iso
from bakery.drivers.vsphere.machine.machines import MACHINE
from bakery.drivers.vsphere.machine.place import FOLDER
from bakery.drivers.vsphere.machine.seed_iso import SEED
from bakery.errors import DriverError, NotYet
from bakery.model import Resource
from bakery.util.context import WorkContext

CLONING = "VirtualMachine.clone"
RUNNING = frozenset({"queued", "running"})
DEPLOYING = ("deploy", "import", "ovf", "clone", "copyvirtualdisk")
"""Words of which the ids of the tasks have one in which a library's item becomes a machine, or a disk is copied."""
OURS = "bakery-"
"""How each name begins that we give to what must not stay."""


def destroy_batches(records: Sequence[Resource]) -> list[list[Resource]]:
    """Return what is destroyed together, in order.

    Items of libraries, with the templates that belong to them; machines and images; seeds; old names; folders, inner
    ones first.
    """
    asides = {keep.ASIDE, keep_item.ASIDE}
    newest = list(reversed(records))
    items = [record for record in newest if record.kind == library.ITEM]
    others = [record for record in newest if record.kind not in {*asides, library.ITEM, SEED, FOLDER}]
    seeds = [record for record in newest if record.kind == SEED]
    names = [record for record in newest if record.kind in asides]
    folders = [[record] for record in newest if record.kind == FOLDER]
    return [batch for batch in (items, others, seeds, names, *folders) if batch]


def destroy(center: VCenter, record: Resource) -> None:
    """Destroy one resource; return when it is gone.

    Raises:
        DriverError: it is still there; `RetryableError` where asking again may help.
    """
    work = WorkContext(cache=Path())
    match record.kind:
        case kind if kind in {MACHINE, IMAGE}:
            until_gone(
                f"the {kind} {record.key} is gone",
                lambda: _end(center, record, work),
                every=(0.1, 2.0),
                late=0.2,
                error=VSphereRetryableError,
            )
        case kind if kind == SEED:
            datacenter = types.vim().Datacenter(str(record.data["datacenter"]), center.session.stub)
            path = DatastorePath.parse(str(record.data["path"]))
            until_gone(
                f"the {kind} {record.key} is gone",
                lambda: seed_iso.delete(center, path, datacenter, work),
                every=(0.1, 2.0),
                error=VSphereRetryableError,
            )
        case keep.ASIDE:
            keep.restore(center, record.key, record.data["name"], record.data["aside"], work)
        case library.ITEM:
            keep_item.destroy(center, record)
        case keep_item.ASIDE:
            keep_item.restore(center, record)
        case kind if kind == FOLDER:
            _remove_folder(center, record, work)
        case _:
            raise DriverError(f"{record} is of a kind that this version does not know")


def _end(center: VCenter, record: Resource, work: WorkContext) -> None:
    """Destroy what the record names.

    Raises:
        NotYet: it is not gone yet, or is just being made.
    """
    for machine in _meant(center, record):
        seeds = seed_iso.seeds_of(center, machine)  # without a journal nothing else knows of them
        datacenter = datastore_files.datacenter_of(center, machine) if seeds else None
        machines.end(center, machine, work)
        for seed in seeds:
            seed_iso.delete(center, seed, datacenter, work)
    if not record.id and (_being_cloned(center, record) or _being_deployed(center, record)):
        raise NotYet("a machine is still being made, whose answer nobody heard")
    if directory := record.data.get("directory"):  # disks that no machine has yet; not those of the image
        place = types.vim().Datacenter(str(record.data["datacenter"]), center.session.stub)
        datastore_files.delete_abandoned(center, DatastorePath.parse(str(directory)), place, work)


def _meant(center: VCenter, record: Resource) -> list[Any]:
    """Return the machines that a record means: that of its id, unless it has become an image; and those of its name.

    A machine becomes the image by being renamed, and the image the user's in the same way. Names that are not ours to
    give are not looked for.
    """
    named = machines.called(center, record.key) if record.key.startswith(OURS) else []
    found = {moid(machine): machine for machine in named}
    if record.id and record.id not in found:
        machine = center.machine(record.id)
        state = machines.state(center, machine)
        lost = state is not None and str(state.get("runtime.connectionState")) in machines.UNUSABLE
        if state is not None and (lost or state.get("name") in {record.key, record.data.get("final")}):
            found[record.id] = machine
    return list(found.values())


def _being_cloned(center: VCenter, record: Resource) -> bool:
    """Say whether the base is being cloned: perhaps by the call whose answer was lost, so that a machine is coming."""
    if not record.data.get("source"):
        return False
    base = center.machine(str(record.data["source"]))
    recent = (center.properties(base, "recentTask") or {}).get("recentTask") or ()
    for task in recent:
        info = center.properties(task, "info.state", "info.descriptionId") or {}
        if info.get("info.descriptionId") == CLONING and str(info.get("info.state")) in RUNNING:
            return True
    return False


def _being_deployed(center: VCenter, record: Resource) -> bool:
    """Say whether anything is deployed or copied: by the call whose answer was lost, it may be, and more is to come.

    vCenter's tasks do not say of which item they are, and their ids differ from version to version.
    """
    if not record.data.get("item") and not record.data.get("directory"):
        return False
    recent = (center.properties(center.content.taskManager, "recentTask") or {}).get("recentTask") or ()
    for task in recent:
        info = center.properties(task, "info.state", "info.descriptionId") or {}
        kind = str(info.get("info.descriptionId")).lower()
        if str(info.get("info.state")) in RUNNING and any(word in kind for word in DEPLOYING):
            return True
    return False


def _remove_folder(center: VCenter, record: Resource, work: WorkContext) -> None:
    """Destroy a folder that was made for a build, unless there is anything in it.

    Destroying a folder destroys the machines in it. So it is first given a name that nobody looks for, then looked
    into, and gets its name back where something is in it.
    """
    folder = center.folder(record.id) if record.id else _child_folder(center, record)
    if folder is None or _content(center, folder) != []:
        return
    name = str(record.data["name"])
    rename = f"bakery-empty-{secrets.token_hex(4)}"
    _rename(center, folder, rename, work)
    if _content(center, folder):
        _rename(center, folder, name, work)
        return
    tasks.run(center, f"destroy the folder {name}", folder.Destroy_Task, work, timeout=machines.POWER)


def _child_folder(center: VCenter, record: Resource) -> Any:
    parent = center.folder(str(record.data["parent"]))
    return place.child(center, parent, str(record.data["name"]))


def _content(center: VCenter, folder: Any) -> list[Any] | None:
    """Return what is in a folder, or None where there is no such folder."""
    values = center.properties(folder, "childEntity")
    return None if values is None else list(values.get("childEntity") or ())


def _rename(center: VCenter, folder: Any, name: str, work: WorkContext) -> None:
    tasks.run(
        center,
        f"rename the folder to {name}",
        lambda: folder.Rename_Task(name),
        work,
        timeout=machines.RENAMING,
        repeat=True,
    )
