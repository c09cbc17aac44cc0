"""A NoCloud seed for guests that do not read guestinfo: an ISO beside the machine's files, in its CD drive."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from bakery.drivers import cloudinit
from bakery.drivers.vsphere.api import datastore_files, tasks, types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.datastore_files import DatastorePath
from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.drivers.vsphere.machine import user_data
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Resource
from bakery.state.claim import Claim
from bakery.util.context import WorkContext

SEED = "seed"
"""The journal's word for a seed on a datastore."""
FILE = "bakery-seed.iso"
TIMEOUT: Final = 300.0
"""Seconds that the upload may take: a seed has a megabyte."""
TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT})
IDE_PLACES, SATA_PLACES = 2, 30


def insert(center: VCenter, machine: Any, source: VSphere, datacenter: Entity, claim: Claim) -> Resource:
    """Write a seed, upload it beside the machine's files, and put it into the machine's CD drive; written down first.

    Args:
        center: where.
        machine: pyvmomi's reference to it, off.
        source: what the user asked for.
        datacenter: of the datastore.
        claim: the right to make it, and the keys that are in it.

    Raises:
        VSphereError: refused.
    """
    seed = claim.folder / FILE
    text = user_data.for_seed(source, claim)
    cloudinit.seed(seed, claim.keys, instance=claim.name, text=text, host_key=claim.role == "build")
    path = datastore_files.beside(center, machine, FILE)
    intent = claim.intend(SEED, str(path), path=str(path), datacenter=datacenter.moid, **center.record)
    upload(center, seed, path, datacenter)
    seed.unlink()
    _put_in(center, machine, path, claim)
    return intent.made()


def upload(center: VCenter, file: Path, to: DatastorePath, datacenter: Entity) -> None:
    """Upload a file to a datastore, over the same TLS and with the same session as everything else.

    Args:
        center: where.
        file: of this host.
        to: the file on the datastore.
        datacenter: of the datastore.

    Raises:
        VSphereError: refused.
    """
    what = f"take the file {to}"
    center.properties(center.content.sessionManager, "currentSession")  # logs in anew where the session has ended
    query = urlencode({"dcPath": datacenter.path.strip("/"), "dsName": to.store})
    cookie = str(center.session.stub.cookie or "").partition(";")[0]

    def send() -> None:
        connection = http.client.HTTPSConnection(
            *center.account.address, timeout=TIMEOUT, context=center.account.trust()
        )
        try:
            data = file.read_bytes()
            connection.request("PUT", f"/folder/{quote(to.path)}?{query}", data, {"Cookie": cookie})
            answer = connection.getresponse()
            said = answer.read(300).decode(errors="replace")
        finally:
            connection.close()
        if answer.status not in TAKEN:
            raise VSphereError(f"vSphere did not {what}", why=f"{answer.status} {answer.reason}: {said}")

    center.call(what, send)


def _put_in(center: VCenter, machine: Any, path: DatastorePath, work: WorkContext) -> None:
    vim = types.vim()
    values = center.properties(machine, "config.hardware") or {}
    devices = list(values["config.hardware"].device)
    backing = vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName=str(path))
    connected = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=False)
    drive = next((one for one in devices if isinstance(one, vim.vm.device.VirtualCdrom)), None)
    changes: list[Any] = []
    if drive is not None:
        drive.backing, drive.connectable = backing, connected
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=drive))
    else:
        controller, unit = _place(devices, changes)
        drive = vim.vm.device.VirtualCdrom(
            key=-600, controllerKey=controller, unitNumber=unit, backing=backing, connectable=connected
        )
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=drive))
    spec = vim.vm.ConfigSpec(deviceChange=changes)
    repeat = not any(change.operation == "add" for change in changes)
    tasks.reconfigure(center, "put the seed into the machine's CD drive", machine, spec, work, repeat=repeat)


def _place(devices: Iterable[Any], changes: list[Any]) -> tuple[int, int]:
    """Return a controller with a free place for a CD drive; one for SATA is added where there is none."""
    vim = types.vim()
    present = list(devices)
    for kind, places in (
        (vim.vm.device.VirtualIDEController, IDE_PLACES),
        (vim.vm.device.VirtualAHCIController, SATA_PLACES),
    ):
        for controller in (one for one in present if isinstance(one, kind)):
            taken = {one.unitNumber for one in present if one.controllerKey == controller.key}
            free = next((unit for unit in range(places) if unit not in taken), None)
            if free is not None:
                return int(controller.key), free
    added = vim.vm.device.VirtualAHCIController(key=-601, busNumber=0)
    changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=added))
    return -601, 0


def removed(devices: Iterable[Any]) -> list[Any]:
    """Return the changes that take a seed of ours out of a machine's CD drive, which is empty then."""
    vim = types.vim()
    changes: list[Any] = []
    for drive in devices:
        if not isinstance(drive, vim.vm.device.VirtualCdrom):
            continue
        if str(getattr(drive.backing, "fileName", "")).endswith(f"/{FILE}"):
            drive.backing = vim.vm.device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
            drive.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
                startConnected=False, allowGuestControl=True, connected=False
            )
            changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=drive))
    return changes


def seeds_of(center: VCenter, machine: Any) -> list[DatastorePath]:
    """Return the seeds of ours that a machine has in its CD drives."""
    vim = types.vim()
    hardware = (center.properties(machine, "config.hardware") or {}).get("config.hardware")
    drives = [one for one in (hardware.device if hardware else ()) if isinstance(one, vim.vm.device.VirtualCdrom)]
    files = (str(getattr(drive.backing, "fileName", "")) for drive in drives)
    return [DatastorePath.parse(file) for file in files if file.endswith(f"/{FILE}")]


def delete(center: VCenter, path: DatastorePath, datacenter: Any, work: WorkContext) -> None:
    """Delete a seed, and the folder of a machine of ours that it was left alone in.

    Args:
        center: where.
        path: of the seed.
        datacenter: pyvmomi's reference to it.
        work: for the waits.
    """
    datastore_files.delete(center, path, datacenter, work)
    datastore_files.delete_abandoned(center, path.folder, datacenter, work)
