"""From a source or an image to a machine that runs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bakery.drivers import cloudinit
from bakery.drivers.shared import host_keys
from bakery.drivers.virtualbox import credentials
from bakery.drivers.virtualbox.api.answers import MachineInfo
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.machine import disks, power, registered, slots, words
from bakery.drivers.virtualbox.machine.base_images import Start, StartAppliance, StartDisk
from bakery.drivers.virtualbox.machine.ports import free_port
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError, PreflightError
from bakery.model import Handle
from bakery.state.claim import Claim, Intent
from bakery.util.files import write_whole

KIND = "machine"
"""The journal's word for a machine with its disks, its folder and its places in VirtualBox's registry."""
RECORD = "machine.json"
FOLDER = "bakery:folder"
"""The mark of where a machine was made. A user's own clone of it has all marks too, and is somewhere else."""
SERIAL, SEED, DISK = "serial.log", "seed.iso", "disk.vdi"
VIRTUALBOX = "virtualbox"
"""The folder, in the machine's own, that VirtualBox writes to."""
ADDITIONS = "VBoxGuestAdditions.iso"
"""The name that every VirtualBox gives the ISO of its guest additions."""
NO_ADDITIONS = "this VirtualBox brings no guest additions"
GET_ADDITIONS = "Debian: `apt install virtualbox-guest-additions-iso`, from non-free"
STARTING = 300.0
"""Seconds for VirtualBox to start a machine's process."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LaunchJob:
    """One machine's making.

    Args:
        box: VirtualBox.
        source: what the user asked for.
        base: what it starts from.
        claim: the right to make things.
    """

    box: VBoxManage
    source: VirtualBox
    base: Start
    claim: Claim

    @property
    def folder(self) -> Path:
        """The folder that VirtualBox writes to."""
        return folder_of(self.claim)


def launch(job: LaunchJob) -> Handle:
    """Make a machine and start it.

    Raises:
        DriverError: VirtualBox refused.
    """
    claim = job.claim
    # An imported machine gets its UUID from VirtualBox.
    uuid = None if isinstance(job.base, StartAppliance) else str(uuid4())
    intent = begin(claim, uuid)
    _make(job, uuid)
    machine = _registered(job, uuid)
    port = free_port()
    console = claim.folder.absolute() / SERIAL
    console.touch(mode=0o600)
    job.box.modify(machine.uuid, words.connections(job.source, port=port, console=console))
    marks = {**claim.tags, FOLDER: str(claim.folder.absolute())}
    firmware = credentials.extra_data(job.source.credentials, machine.values.get("firmware", ""))
    job.box.set_extra_data(machine.uuid, {**marks, **firmware, **job.source.extra_data})
    job.box.set_guest_properties(machine.uuid, job.source.guest_properties)
    _insert_seed(job, machine.uuid)
    if job.source.guest_additions == "attach":
        _insert(job, machine.uuid, str(additions_iso(job.box)))
    resource = intent.made(claim.name, uuid=machine.uuid)
    _start(job, machine)
    disk = str(job.folder / DISK) if isinstance(job.base, StartDisk) else ""
    host_key = claim.keys.host_public if _is_given_host_key(job) else ""
    return Handle(
        driver=claim.driver,
        id=claim.name,
        resource=resource,
        folder=claim.folder,
        settings=job.source.settings(),
        data={"uuid": machine.uuid, "port": port, "host_public": host_key, "disk": disk},
    )


def _start(job: LaunchJob, machine: MachineInfo) -> None:
    """Start a machine; what VirtualBox logged of one that does not is said, as the log goes with the machine."""
    try:
        job.box.start(machine.uuid, gui=job.source.gui, timeout=STARTING)
    except VirtualBoxError as error:
        error.why = "\n".join(filter(None, (error.why, power.logged(machine))))
        raise


def folder_of(claim: Claim) -> Path:
    """Return the folder that VirtualBox writes to under a claim."""
    return claim.folder.absolute() / VIRTUALBOX


def begin(claim: Claim, uuid: str | None) -> Intent:
    """Write down that a machine is about to be made, and make the folder for it.

    A note beside it says whose it is, for `find`: a machine that is to be exported carries no marks.

    Args:
        claim: the right to make it.
        uuid: the UUID that it will have, where that is ours to choose: under it the machine is found after a crash.
    """
    known = {"uuid": uuid} if uuid else {}
    intent = claim.intend(KIND, folder=str(claim.folder.absolute()), **known)
    noted = {"run": claim.run, "build": claim.build, "began": time.time()}
    write_whole(claim.folder / RECORD, json.dumps(noted))
    folder_of(claim).mkdir(mode=0o700)
    return intent


def _make(job: LaunchJob, uuid: str | None) -> None:
    """Make the machine without a connection to this host."""
    match job.base:
        case StartDisk():
            make_new(job, job.base, job.claim.name, uuid or str(uuid4()))
        case StartAppliance(path):
            job.box.import_appliance(path, job.claim.name, folder=job.folder)
        case RegisteredMachine():
            _clone(job, job.base, uuid or str(uuid4()))


def make_new(job: LaunchJob, start: StartDisk, name: str, uuid: str) -> None:
    """Make and register a machine of a disk's copy, without a connection to this host."""
    box, source = job.box, job.source
    disk = job.folder / DISK
    disks.write_vdi(start, disk, size=source.disk_bytes, work=job.claim)
    box.create(name, uuid=uuid, folder=job.folder, os_type=source.os_type)
    box.modify(uuid, words.settings(source))
    if source.firmware == "efi-secure":
        box.enroll_secure_boot(uuid)
    box.add_controller(uuid, words.controller(source))
    box.attach(uuid, words.disk(source, disk))


def _clone(job: LaunchJob, base: RegisteredMachine, uuid: str) -> None:
    if problem := next(registered.problems(job.box, base), None):
        raise PreflightError(problem.what, why=problem.why, hint=problem.hint)
    job.box.clone(base.name, job.claim.name, uuid=uuid, folder=job.folder, snapshot=base.snapshot)


def _registered(job: LaunchJob, uuid: str | None) -> MachineInfo:
    """Return the machine that was just made."""
    machine = registered.in_folder(job.box, [uuid or job.claim.name], job.folder)
    if machine is None:
        raise DriverError(f"the machine {job.claim.name} is not registered, although VirtualBox just made it")
    return machine


def _insert_seed(job: LaunchJob, uuid: str) -> None:
    """Put a cloud-init seed into a CD drive; its instance id is new, so that cloud-init does its work again."""
    seed, keys, user = job.folder / SEED, job.claim.keys, job.source.user
    given = _is_given_host_key(job)
    if given:
        ours = cloudinit.user_data_for_seed(keys, user=user)
    elif job.source.host_key == "given":
        ours = cloudinit.user_data_for_test(keys, user=user)
    else:
        ours = cloudinit.user_data(keys, user=user, host_key=False)
    cloudinit.seed(seed, keys, instance=job.claim.name, text=str(job.source.user_data) or ours, host_key=given)
    _insert(job, uuid, str(seed))


def _is_given_host_key(job: LaunchJob) -> bool:
    """Say whether a machine is known by a host key of ours.

    One that is only tested makes its own, as a user's does; but user data of the user's own stand as they are.
    """
    return job.source.host_key == "given" and bool(job.source.user_data or host_keys.given(job.claim))


def additions_iso(box: VBoxManage) -> Path:
    """Return VirtualBox's own ISO of the guest additions.

    Its word for that, `--medium=additions`, is taken for a file of the current folder where there is none.

    Raises:
        PreflightError: this VirtualBox brings none.
    """
    iso = box.additions()
    if iso is None:
        raise PreflightError(NO_ADDITIONS, hint=GET_ADDITIONS)
    return iso


def _insert(job: LaunchJob, uuid: str, medium: str) -> None:
    """Add a CD drive with a medium in it, on a controller that the machine has, or on one that it gets."""
    box = job.box
    machine = box.must_have(uuid)
    place = slots.free(machine)
    if place is None:
        box.add_controller(uuid, words.drives())
        machine = box.must_have(uuid)
        place = slots.free(machine)
    if place is None:
        raise DriverError("the machine has no room for a CD drive", hint="take a drive away in the appliance")
    if 0 < slots.ports(machine, place.controller) <= place.port:
        box.add_controller(uuid, ["--name", place.controller, "--portcount", str(place.port + 1)])
    box.attach(uuid, words.drive(place.controller, place.port, place.device, medium))
