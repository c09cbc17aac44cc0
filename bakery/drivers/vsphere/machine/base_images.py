"""What a machine is cloned from: a template or a machine by its name, one of its snapshots, or an image of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import Properties, VCenter, moid
from bakery.drivers.vsphere.api.inventory import Entity, Inventory
from bakery.drivers.vsphere.options import LibraryItem, VSphereMachine
from bakery.drivers.vsphere.source import IMPORTED, LIBRARY
from bakery.errors import PreflightError
from bakery.model import Artifact, Checkpoint
from bakery.util.suggestions import nearest

HINT = (
    "base='debian-12-template', VSphereMachine('debian-12', snapshot='clean'), Appliance('base.ova'), "
    "LibraryItem('library', 'item'), or an image of this driver"
)

PATHS = (
    "name",
    "config.template",
    "config.hardware",
    "config.instanceUuid",
    "config.changeVersion",
    "config.version",
    "runtime.powerState",
    "runtime.connectionState",
    "summary.storage.committed",
    "snapshot",
)


@dataclass(frozen=True, kw_only=True)
class CloneBase:
    """What is cloned.

    Args:
        ref: the template or machine.
        values: its properties, of `PATHS`.
        snapshot: the snapshot to clone it at; None is as it is now.
    """

    ref: Any
    values: Properties
    snapshot: Any = None

    @property
    def name(self) -> str:
        """The machine's name."""
        return str(self.values.get("name", ""))

    @property
    def is_template(self) -> bool:
        """Whether it is a template, which has no resource pool and is never powered on."""
        return bool(self.values.get("config.template"))

    @property
    def devices(self) -> list[Any]:
        """Its virtual hardware."""
        hardware = self.values.get("config.hardware")
        return list(hardware.device) if hardware is not None else []

    @property
    def key(self) -> str | None:
        """The key of its content: the snapshot's id with the machine's, as neither changes; None where it may."""
        uuid = str(self.values.get("config.instanceUuid") or "")
        if self.snapshot is not None and uuid:
            return f"{uuid} {moid(self.snapshot)}"
        changed = self.values.get("config.changeVersion")
        return f"{uuid} {changed}" if self.is_template and uuid and changed else None


def deployable(base: Any) -> Any:
    """Return what a source names: an image that is a file here as that appliance, one of a library as that item."""
    if not isinstance(base, Artifact):
        return base
    if base.format == "ova":
        return Appliance(str(base.path))
    if base.format.startswith(LIBRARY):
        return LibraryItem(str(base.settings["library"]), str(base.settings["item"]))
    return base


def cloned(center: VCenter, base: Any, inventory: Inventory) -> CloneBase | None:
    """Return what a machine is cloned from; None where it is imported or deployed.

    Raises:
        PreflightError: as `resolve`.
    """
    return None if isinstance(base, IMPORTED) else resolve(center, base, inventory)


def resolve(center: VCenter, base: Any, inventory: Inventory) -> CloneBase:
    """Return what a machine is cloned from.

    Args:
        center: where.
        base: as the source has it.
        inventory: with its machines.

    Raises:
        PreflightError: there is no such thing, or it cannot be cloned.
    """
    match base:
        case VSphereMachine():
            return _checked(_at_snapshot(described(center, inventory.find("machine", base.machine).ref), base))
        case Artifact() | Checkpoint() if base.driver == "vsphere":
            return image(center, base)
        case str() if base:
            return _checked(described(center, _named(base, inventory).ref))
    raise PreflightError(f"vSphere cannot clone {base!r}", hint=HINT)


def _named(name: str, inventory: Inventory) -> Entity:
    """Return the machine of a name; a file in place of one is a likely slip."""
    try:
        return inventory.find("machine", name, shown="base=")
    except PreflightError as error:
        if not name.endswith((".ova", ".ovf")):
            raise
        raise PreflightError(error.what, why=error.why, hint=f"a file is base=Appliance({name!r})") from error


def image(center: VCenter, base: Artifact | Checkpoint) -> CloneBase:
    """Return an image of ours, at its snapshot where it is a machine.

    Raises:
        PreflightError: it is gone.
    """
    vim = types.vim()
    known = described(center, center.machine(str(base.settings["machine"])))
    snapshot = base.settings.get("snapshot")
    if snapshot:
        return CloneBase(
            ref=known.ref, values=known.values, snapshot=vim.vm.Snapshot(str(snapshot), center.session.stub)
        )
    return known


def described(center: VCenter, ref: Any) -> CloneBase:
    """Read what cloning needs to know of a machine.

    Raises:
        PreflightError: it is not there.
    """
    values = center.properties(ref, *PATHS)
    if values is None:
        raise PreflightError(f"there is no machine {moid(ref)} here", hint="ids differ from vCenter to vCenter")
    return CloneBase(ref=ref, values=values)


def _checked(base: CloneBase) -> CloneBase:
    state = str(base.values.get("runtime.connectionState", "connected"))
    if state != "connected":
        raise PreflightError(f"the base {base.name} cannot be read now", why=f"vCenter says that it is {state}")
    if base.snapshot is None and str(base.values.get("runtime.powerState")) == "poweredOn":
        raise PreflightError(
            f"the base {base.name} is powered on",
            why="what it has not written yet would be missing in its clone",
            hint=f"power it off, or clone a snapshot: VSphereMachine({base.name!r}, snapshot='...')",
        )
    return base


def _at_snapshot(base: CloneBase, wanted: VSphereMachine) -> CloneBase:
    known = list(snapshots(base.values))
    fitting = [one.snapshot for one in known if one.name == wanted.snapshot]
    if not fitting:
        names = [str(one.name) for one in known]
        near = nearest(wanted.snapshot, names)
        raise PreflightError(
            f"the machine {base.name} has no snapshot {wanted.snapshot!r}",
            why=f"it has: {', '.join(names) or 'none'}",
            hint=f"did you mean {near!r}?" if near else "",
        )
    return CloneBase(ref=base.ref, values=base.values, snapshot=fitting[-1])


def snapshots(values: Properties) -> Iterator[Any]:
    """Yield a machine's snapshots, each before its children."""
    found = values.get("snapshot")
    waiting = list(found.rootSnapshotList or ()) if found is not None else []
    while waiting:
        one = waiting.pop(0)
        yield one
        waiting = [*(one.childSnapshotList or ()), *waiting]
