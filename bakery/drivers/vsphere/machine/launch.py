"""From a base or an image to a machine that runs: cloned off, changed, powered on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bakery.drivers.shared import host_keys
from bakery.drivers.vsphere.api import inventory, marks, tasks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.machine import (
    base_images,
    customization,
    hardware,
    machines,
    more_hardware,
    place,
    seed_iso,
    user_data,
)
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.machine.copy_machine import copy_machine
from bakery.drivers.vsphere.machine.deploy_item import deploy_item
from bakery.drivers.vsphere.machine.import_base import Goal, import_base
from bakery.drivers.vsphere.machine.machines import MACHINE
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.options import LibraryItem
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import PreflightError
from bakery.model import Handle, Resource
from bakery.state.claim import Claim

STARTING = 600.0
"""Seconds for powering a machine on."""
OURS = (marks.IMAGE, marks.CREATED)
"""Marks that a clone may have from a kept image of ours that it was made from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CloneJob:
    """One machine's making: where, what the user asked for, and the right to make things."""

    center: VCenter
    source: VSphere
    claim: Claim


def launch(job: CloneJob) -> Handle:
    """Make a machine and power it on.

    Raises:
        PreflightError: a name of the source is not there.
        VSphereError: refused; `VSphereRetryableError` where asking again may help.
    """
    center, source, claim = job.center, job.source, job.claim
    known = inventory.read(center, machines=True)
    base = base_images.cloned(center, source.base, known)
    where = place.find(center, source, base, known)
    folder, made = place.folder(center, where, claim)
    if base is not None and not center.is_vcenter:
        machine, resource = copy_machine(center, source, base, where, claim)
    elif base is not None:
        machine, resource = _clone(job, base, where, folder)
    else:
        make = deploy_item if isinstance(source.base, LibraryItem) else import_base
        goal = Goal(name=claim.name, known=known, where=where, folder=folder)
        machine, resource = make(center, source, goal, claim)
    _mark(center, machine, claim)
    _change(job, machine, where)
    if source.customization is not None:
        customization.customize(center, machine, source.customization, claim)
    seed = None
    if source.datasource == "nocloud":
        seed = seed_iso.insert(center, machine, source, where.datacenter, claim)
    _power_on(center, machine, claim)
    own = moid(machine)
    return Handle(
        driver="vsphere",
        id=own,
        resource=resource,
        folder=claim.folder,
        settings={"source": source.settings(), **center.record},
        data={
            **center.record,
            "machine": own,
            "host_public": host_keys.given(claim),
            "seed": dict(seed.data) if seed is not None else None,
            "folders": [{"key": one.key, "id": one.id, "data": dict(one.data)} for one in made],
        },
    )


def _clone(job: CloneJob, base: CloneBase, where: Place, folder: Any) -> tuple[Any, Resource]:
    """Clone the base, powered off, under the claim's name; written down first."""
    center, claim = job.center, job.claim
    intent = claim.intend(MACHINE, claim.name, source=moid(base.ref), **center.record)
    spec = clone_spec(job, base, where, folder)
    machine = tasks.run_once(
        center,
        f"clone {base.name}",
        lambda: base.ref.CloneVM_Task(folder=folder, name=claim.name, spec=spec),
        lambda: machines.called(center, claim.name),
        claim,
        timeout=job.source.launch_timeout,
    )
    return machine, intent.made(moid(machine))


def clone_spec(job: CloneJob, base: CloneBase, where: Place, folder: Any) -> Any:
    """Return how the base is cloned: where to, and off; its hardware is changed afterwards.

    Raises:
        PreflightError: a linked clone needs a snapshot.
    """
    vim = types.vim()
    location = vim.vm.RelocateSpec(pool=where.pool)
    if where.host is not None:
        location.host = where.host.ref
    if (store := place.datastore(job.center, where, base, job.claim.name, folder)) is not None:
        location.datastore = store
    if linked(job.source, base):
        location.diskMoveType = "createNewChildDiskBacking"
    spec = vim.vm.CloneSpec(location=location, powerOn=False, template=False)
    if base.snapshot is not None:
        spec.snapshot = base.snapshot
    # The marks are there from the first moment, where the server takes notes with a clone.
    spec.config = vim.vm.ConfigSpec(annotation=marks.notes("", marks.temporary(job.claim, job.claim.name)))
    return spec


def linked(source: VSphere, base: CloneBase) -> bool:
    """Say whether the machine's disk is to stand on the base's.

    Raises:
        PreflightError: the base has no snapshot to stand on.
    """
    ours = source.image == "snapshot" and base.snapshot is not None
    if source.clone == "linked" and base.snapshot is None:
        raise PreflightError(
            f"a linked clone of {base.name} needs a snapshot to stand on",
            hint=f"base=VSphereMachine({base.name!r}, snapshot='...'), or clone='full'",
        )
    return source.clone == "linked" or (ours and source.disk is None)


def _power_on(center: VCenter, machine: Any, claim: Claim) -> None:
    try:
        tasks.run(
            center,
            "power the machine on",
            machine.PowerOnVM_Task,
            claim,
            timeout=STARTING,
            repeat=True,
            hint="its tasks in vCenter tell more",
        )
    except VSphereError as error:
        state = (machines.state(center, machine) or {}).get("runtime.powerState")
        if fault_of(error) != "InvalidPowerState" or str(state) != "poweredOn":
            raise  # else an answer was lost, and asked again


def _mark(center: VCenter, machine: Any, claim: Claim) -> None:
    values = {**marks.temporary(claim, claim.name), **dict.fromkeys(OURS, "")}
    marks.set_attributes(center, machine, values)


def _change(job: CloneJob, machine: Any, where: Place) -> None:
    """Give the clone its hardware, its networks, its keys and its marks."""
    center, source, claim = job.center, job.source, job.claim
    more_hardware.upgrade(center, machine, source.hardware, claim)
    values = center.properties(machine, "config.hardware")
    if values is None:
        raise VSphereError(f"the machine {claim.name} is gone", why="somebody destroyed it")
    devices = list(values["config.hardware"].device)
    joined = [hardware.backing(center, network) for network in where.networks]
    spec = hardware.config(source, joined, devices)
    ours = user_data.settings(source, claim) if source.datasource == "guestinfo" else {}
    spec.extraConfig = hardware.options({**source.extra_config, **ours})
    spec.annotation = marks.notes("", marks.temporary(claim, claim.name))
    what = "change the machine's hardware"
    tasks.reconfigure(center, what, machine, spec, claim, repeat=hardware.repeatable(spec))
