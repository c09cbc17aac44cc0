"""Machines by their names and states: looked up, described, renamed, destroyed."""

from __future__ import annotations

from typing import Any

from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api import tasks, types
from bakery.drivers.vsphere.api.center import Properties, VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.errors import NotYet
from bakery.util.context import WorkContext

MACHINE = "machine"
"""The journal's word for a machine with its disks."""
RENAMING = 120.0
POWER = 600.0
"""Seconds."""
UNUSABLE = frozenset({"inaccessible", "invalid", "orphaned"})
"""Connection states of machines whose files vCenter cannot read: they are only taken out of the inventory."""


def called(center: VCenter, name: str) -> list[Any]:
    """Return the machines and templates of a name, wherever they are; normally one or none."""
    vim = types.vim()
    return [ref for ref, values in center.all({vim.VirtualMachine: ("name",)}) if values.get("name") == name]


def in_folder(center: VCenter, folder: Any, name: str) -> list[Any]:
    """Return the machines and templates of a name in a folder; vCenter allows one, some others more."""
    vim = types.vim()
    values = center.properties(folder, "childEntity") or {}
    children = [child for child in values.get("childEntity") or () if isinstance(child, vim.VirtualMachine)]
    return [child for child in children if (center.properties(child, "name") or {}).get("name") == name]


def datastore(center: VCenter, machine: Any) -> str | None:
    """Return the name of the datastore that a machine is on, or None where it cannot be seen."""
    stores = (center.properties(machine, "datastore") or {}).get("datastore") or ()
    names = [(center.properties(store, "name") or {}).get("name") for store in stores]
    return next((str(name) for name in names if name), None)


def rename(center: VCenter, machine: Any, name: str, work: WorkContext) -> None:
    """Give a machine another name.

    Raises:
        VSphereError: another one in its folder has it (`DuplicateName`).
    """
    what = f"rename the machine to {name}"
    try:
        tasks.run(center, what, lambda: machine.Rename_Task(name), work, timeout=RENAMING, repeat=True)
    except VSphereError:
        if (center.properties(machine, "name") or {}).get("name") != name:  # else an answer was lost, and asked again
            raise


def off(center: VCenter, machine: Any, work: WorkContext) -> None:
    """Pull a machine's plug: only for one that is to be destroyed."""
    try:
        tasks.run(center, "power the machine off", machine.PowerOffVM_Task, work, timeout=POWER, repeat=True)
    except VSphereError as error:
        if fault_of(error) != "InvalidPowerState":  # it was off already
            raise


def end(center: VCenter, machine: Any, work: WorkContext) -> None:
    """Destroy a machine or template with its disks.

    Raises:
        NotYet: it is not gone yet, as vSphere does something else with it.
        VSphereError: it cannot be destroyed.
    """
    with patience("vSphere"):
        values = state(center, machine)
        if values is None:
            return
        if str(values.get("runtime.connectionState")) in UNUSABLE:
            center.find("take the machine out of the inventory", machine.UnregisterVM)
            return
        if str(values.get("runtime.powerState")) != "poweredOff" and not values.get("config.template"):
            off(center, machine, work)
        _destroy(center, machine, work)


def _destroy(center: VCenter, machine: Any, work: WorkContext) -> None:
    try:
        tasks.run(center, "destroy the machine", machine.Destroy_Task, work, timeout=POWER, repeat=True)
    except VSphereError as error:
        if fault_of(error) == "InvalidPowerState":
            raise NotYet("the machine was powered on again") from error
        if fault_of(error) != "ManagedObjectNotFound":
            raise


def state(center: VCenter, machine: Any) -> Properties | None:
    """Return what a machine does now; None where it is gone."""
    return center.properties(
        machine, "name", "runtime.powerState", "runtime.connectionState", "runtime.question", "config.template"
    )
