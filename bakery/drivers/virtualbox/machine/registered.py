"""Machines that are registered: ours, by the folder that they are in, and those of the user that are to be cloned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bakery.drivers.virtualbox.api.answers import INACCESSIBLE, MachineInfo
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.model import Problem


def in_folder(box: VBoxManage, known: list[str], folder: Path) -> MachineInfo | None:
    """Return the machine whose settings are in our folder; None where there is none.

    Args:
        box: VirtualBox.
        known: names and UUIDs that it may have. VirtualBox lets several machines have one name; those of somebody else
            are passed over.
        folder: the machine's folder, or one above it.
    """
    for name in known:
        machine = box.info(name)
        if machine is None:
            continue
        if machine.config.is_relative_to(folder):
            return machine
        others = (other for other in box.machines() if other.name == name and other.uuid != machine.uuid)
        shown = (box.info(other.uuid) for other in others)
        if ours := next((other for other in shown if other and other.config.is_relative_to(folder)), None):
            return ours
    return None


def problems(box: VBoxManage, base: RegisteredMachine) -> Iterator[Problem]:
    """Yield what keeps a registered machine from being cloned."""
    machines = box.machines()
    same = [machine for machine in machines if machine.name == base.name]
    if len(same) > 1:
        uuids = ", ".join(machine.uuid for machine in same)
        yield Problem(
            what=f"VirtualBox has {len(same)} machines named {base.name!r}", why=uuids, hint="say which by UUID"
        )
        return
    machine = box.info(base.name)
    if machine is None:
        names = ", ".join(named.name for named in machines) or "none"
        yield Problem(what=f"VirtualBox has no machine {base.name!r}", why=f"it has: {names}")
        return
    if machine.state == INACCESSIBLE:
        yield Problem(what=f"VirtualBox cannot read the settings of the machine {base.name!r}", why=str(machine.config))
        return
    if base.snapshot and base.snapshot not in {*machine.snapshots, *machine.snapshots.values()}:
        known = ", ".join(machine.snapshots) or "none"
        yield Problem(what=f"the machine {base.name!r} has no snapshot {base.snapshot!r}", why=f"it has: {known}")
    if not base.snapshot and machine.state != "poweroff":
        yield Problem(
            what=f"the machine {base.name!r} is {machine.state}", hint="power it off, or name a snapshot to start from"
        )
