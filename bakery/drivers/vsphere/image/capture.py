"""From a sealed machine to an image under a temporary name: the machine itself becomes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bakery.drivers.vsphere.api import datastore_files, marks, tasks, types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.datastore_files import DatastorePath
from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.drivers.vsphere.machine import hardware, machines, more_hardware, place, seed_iso, user_data
from bakery.drivers.vsphere.machine.power import Shutdown
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim

IMAGE = "image"
"""The journal's word for a template, or a machine with a snapshot."""
SNAPSHOT = "bakery"


def capture(center: VCenter, handle: Handle, name: str, claim: Claim) -> Artifact:
    """Power the machine off through its guest, take out what was for the build, and make an image of it.

    The machine's own disk becomes the image's: nothing is copied. Under its new name it is the image's record that
    knows it, and the machine's record finds nothing any more.

    Raises:
        DriverError: the machine does not stop, or vSphere refuses.
    """
    source = VSphere.from_settings(handle.settings["source"], base=None)
    machine = center.machine(handle.data["machine"])
    Shutdown(center, handle).wait(source, claim)
    for folder in handle.data.get("folders", ()):  # they hold the image from here on
        claim.intend(place.FOLDER, folder["key"], **folder["data"]).made(folder["id"])
    key = marks.new_name(claim)
    intent = claim.intend(IMAGE, key, final=name, **center.record)
    clean(center, machine, source, claim, key)
    if seed := handle.data.get("seed"):
        datacenter = types.vim().Datacenter(str(seed["datacenter"]), center.session.stub)
        datastore_files.delete(center, DatastorePath.parse(str(seed["path"])), datacenter, claim)
    machines.rename(center, machine, key, claim)
    intent.made(moid(machine))
    return finish(center, machine, source, name, claim)


def clean(center: VCenter, machine: Any, source: VSphere, claim: Claim, key: str) -> None:
    """Take our keys out of a machine's settings, and give it its notes and the marks of an image that must not stay.

    The notes are those of the finished image already, where the marks have a place elsewhere: what is a template by
    then need not be changed any more.

    Args:
        center: where.
        machine: pyvmomi's reference to it, off.
        source: what the user asked for.
        claim: for the image.
        key: the image's temporary name.
    """
    vim = types.vim()
    temporary = marks.temporary(claim, key)
    in_attributes = marks.set_attributes(center, machine, temporary)
    spec = vim.vm.ConfigSpec(annotation=marks.notes(source.notes, {} if in_attributes else temporary))
    spec.extraConfig = hardware.options(user_data.none())
    if source.hardware.addresses or source.datasource == "nocloud":
        devices = list(((center.properties(machine, "config.hardware") or {})["config.hardware"]).device)
        macs = more_hardware.without_macs(devices) if source.hardware.addresses else []
        spec.deviceChange = [*macs, *seed_iso.removed(devices)]
    tasks.reconfigure(center, "take the build's settings out of the machine", machine, spec, claim)


def finish(center: VCenter, machine: Any, source: VSphere, name: str, claim: Claim) -> Artifact:
    """Make an image of a machine that is off and has its temporary name: a template, or a snapshot to clone from.

    Args:
        center: where.
        machine: pyvmomi's reference to it.
        source: which of the two, and what its clones are like.
        name: what the image will be called once it is kept.
        claim: for the image.
    """
    return _described(center, machine, source, name, _freeze(center, machine, source, claim))


def _freeze(center: VCenter, machine: Any, source: VSphere, claim: Claim) -> str:
    """Make a template of a machine, or take the snapshot that clones stand on; return its id, if any."""
    if source.image == "machine":
        return ""
    if source.image == "template":
        _make_template(center, machine)
        return ""
    snapshot = tasks.run(
        center,
        "take a snapshot of the machine",
        lambda: machine.CreateSnapshot_Task(name=SNAPSHOT, description="made by bakery", memory=False, quiesce=False),
        claim,
        timeout=source.image_timeout,
    )
    if snapshot is None:
        raise DriverError("vSphere took a snapshot, and does not say which")
    return moid(snapshot)


def _make_template(center: VCenter, machine: Any) -> None:
    try:
        center.call("make a template of the machine", machine.MarkAsTemplate)
    except VSphereError:
        values = center.properties(machine, "config.template") or {}
        if not values.get("config.template"):  # else an answer was lost, and asked again
            raise


def _described(center: VCenter, machine: Any, source: VSphere, name: str, snapshot: str) -> Artifact:
    values = center.properties(machine, "config.instanceUuid", "summary.storage") or {}
    own = moid(machine)
    storage = values.get("summary.storage")
    settings = {"source": source.settings(), **center.record, "machine": own, "snapshot": snapshot or None}
    return Artifact(
        driver="vsphere",
        id=own,
        name=name,
        format=source.image if source.image == "template" else "machine",
        size=int(storage.committed) if storage is not None else None,
        settings=settings,
        data={"instance_uuid": str(values.get("config.instanceUuid") or ""), "snapshot": SNAPSHOT if snapshot else ""},
        created=datetime.now(UTC),
    )
