"""Privileges that a build needs, asked for before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.machine import place
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Problem

MACHINE = "VirtualMachine."
FOLDER_PRIVILEGES = (
    "Inventory.Delete",
    "Config.Settings",
    "Config.Annotation",
    "Config.Rename",
    "Config.AdvancedConfig",
    "Interact.PowerOn",
    "Interact.PowerOff",
)
"""Of machines, on their folder, beside how they come into it."""
GUEST_PRIVILEGES = tuple(f"{MACHINE}GuestOperations.{verb}" for verb in ("Query", "Modify", "Execute"))
"""The same, for `transport="guest"`."""
LIBRARY_PRIVILEGES = tuple(f"ContentLibrary.{verb}LibraryItem" for verb in ("Add", "Update", "Delete"))
"""On the vCenter itself, where libraries are."""


def problems(center: VCenter, source: VSphere, base: CloneBase | None, where: Place) -> Iterator[Problem]:
    """Yield what this user may not do that a build needs.

    Args:
        center: where; a single ESXi host asks nobody about privileges on its objects.
        source: what the user asked for.
        base: what is cloned; None where it is imported or deployed.
        where: where the machine goes.
    """
    if not center.is_vcenter:
        return
    for thing, called, privileges in _wanted(center, source, base, where):
        if missing := lacking(center, thing, privileges):
            yield Problem(
                what=f"{center.account.username} lacks privileges on {called}",
                why=", ".join(missing),
                hint="docs/vmware.md lists those that a build needs",
            )


def _wanted(
    center: VCenter, source: VSphere, base: CloneBase | None, where: Place
) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
    """Yield objects, what they are called, and the privileges that are needed on each."""
    coming = "Inventory.CreateFromExisting" if base is not None else "Inventory.Create"
    template = ("Provisioning.MarkAsTemplate",) if source.image == "template" else ()
    folder = place.existing_folder(center, where) or where.machines
    own = tuple(f"{MACHINE}{one}" for one in (coming, *FOLDER_PRIVILEGES, *template))
    own += GUEST_PRIVILEGES if source.transport == "guest" else ()
    exports = source.image == "ova"  # and what is exported is imported again, to be tested
    yield folder, "the folder of the machines", (*own, *(("VApp.Export",) if exports else ()))
    imported = ("VApp.Import",) if exports or base is None else ()
    yield where.pool, "the pool", ("Resource.AssignVMToPool", *imported)
    if source.library:
        yield center.content.rootFolder, "the vCenter", LIBRARY_PRIVILEGES
    for network in where.networks:
        yield network.ref, f"the network {network.name}", ("Network.Assign",)
    if where.datastore is not None:
        files = ("Datastore.FileManagement",) if source.datasource == "nocloud" else ()
        yield where.datastore.ref, f"the datastore {where.datastore.name}", ("Datastore.AllocateSpace", *files)
    if base is not None:
        way = "DeployTemplate" if base.is_template else "Clone"
        yield base.ref, f"the base {base.name}", (f"{MACHINE}Provisioning.{way}",)


def lacking(center: VCenter, thing: Any, privileges: tuple[str, ...]) -> list[str]:
    """Return those privileges that this session has not on an object."""
    manager = center.content.authorizationManager
    values = center.properties(center.content.sessionManager, "currentSession") or {}
    session = values.get("currentSession")
    if manager is None or session is None:
        return []
    answer = center.call(
        "say this user's privileges",
        lambda: manager.HasPrivilegeOnEntities(entity=[thing], sessionId=session.key, privId=list(privileges)),
    )
    return [one.privId for entity in answer for one in entity.privAvailability if not one.isGranted]
