"""From a running machine to an image under a temporary name: powered off, rid of what was for the build, written."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from bakery.disk import image_files
from bakery.drivers.virtualbox import credentials
from bakery.drivers.virtualbox.api.answers import MachineInfo
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.destroy import destroy
from bakery.drivers.virtualbox.machine import power, words
from bakery.drivers.virtualbox.machine.launch import ADDITIONS, SERIAL, VIRTUALBOX, begin, folder_of
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.util.sparse_files import digest

SNAPSHOT = "bakery-image"
OF_THIS_GUEST = ("/VirtualBox/GuestInfo/", "/VirtualBox/HostInfo/")
"""Guest properties that the additions wrote of the machine that was built: its addresses, who is logged in."""
VARIANTS = {"vdi": ("VDI", "Standard"), "vmdk": ("VMDK", "Stream"), "vhd": ("VHD", "Standard")}
"""VBoxManage's words for the formats of a single disk."""


def capture(box: VBoxManage, handle: Handle, name: str, claim: Claim) -> Artifact:
    """Power a machine off through its guest and make an image of it.

    Raises:
        DriverError: the guest does not power off, or VirtualBox refused.
    """
    source = VirtualBox.from_settings(handle.settings)
    console = handle.folder / SERIAL
    power.off(box, handle.data["uuid"], console, timeout=source.shutdown_timeout, work=claim)
    if source.format != "ova":
        return write_image(box, handle.data["uuid"], source, name, claim)
    with named_clone(box, handle, source, name, claim) as clone:
        return write_image(box, clone, source, name, claim)


@contextmanager
def named_clone(box: VBoxManage, handle: Handle, source: VirtualBox, name: str, claim: Claim) -> Generator[str]:
    """Lend a linked clone of a machine, with the image's name and without what the machine had for its build.

    The name is in the appliance, also in its disk's name. Renaming the machine itself would do as well, but VirtualBox
    7.2 then writes a path of this host into its settings, and from there into the appliance. VirtualBox minds no other
    machine of the name.
    """
    uuid = str(uuid4())
    intent = begin(claim, uuid)
    box.take_snapshot(handle.data["uuid"], SNAPSHOT)
    box.clone(handle.data["uuid"], name, uuid=uuid, folder=folder_of(claim), snapshot=SNAPSHOT, macs=source.macs)
    resource = intent.made(claim.name)
    try:
        clean(box, uuid, handle.folder.absolute() / VIRTUALBOX, source)
        yield uuid
    except BaseException:
        with suppress(DriverError):  # the journal knows it, and the first error is the one to be told
            destroy(box, resource)
        raise
    destroy(box, resource)  # now: what is left under this claim becomes the user's together with the image


def write_image(box: VBoxManage, machine: str, source: VirtualBox, name: str, claim: Claim) -> Artifact:
    """Make an image of a machine that is off, under a temporary name.

    Args:
        box: VirtualBox.
        machine: its UUID.
        source: says in which format, and what the appliance says about itself.
        name: what the image will be called once it is kept.
        claim: for the image.
    """

    def write(path: Path) -> str:
        if source.format == "ova":
            box.export(machine, path, export_words(source, name))
        else:
            _write_disk(box, machine, path, source.format)
        path.chmod(0o644)
        return digest(path, "sha256", claim)

    artifact = image_files.make(write, name, format=source.format, settings=source.settings(), claim=claim)
    return replace(artifact, driver=claim.driver)


def clean(box: VBoxManage, uuid: str, folder: Path, source: VirtualBox) -> None:
    """Take out of a machine that is off what it had for its build: drives, port rule, serial file, marks.

    Args:
        box: VirtualBox.
        uuid: the machine.
        folder: where the ISOs are that were made for the build.
        source: what the user asked for.
    """
    machine = box.must_have(uuid)
    for (controller, port, device), medium in machine.attachments.items():
        if _is_ours(medium, folder, source):
            box.attach(uuid, words.drive(controller, port, device, "none"))
    if words.DRIVES in machine.values.values():
        box.add_controller(uuid, ["--name", words.DRIVES, "--remove"])
    box.modify(uuid, words.disconnections(frozenset(machine.forwards)))
    firmware = credentials.extra_data(source.credentials, machine.values.get("firmware", ""))
    ours = {*source.extra_data, *firmware}
    extra = box.extra_data(uuid)
    box.set_extra_data(uuid, {key: "" for key in extra if key.startswith("bakery:") or key in ours})
    properties = box.guest_properties(uuid)
    mine = (*source.guest_properties, *(name for name in properties if name.startswith(OF_THIS_GUEST)))
    box.set_guest_properties(uuid, {name: "" for name in properties if name in mine})


def _is_ours(medium: str, folder: Path, source: VirtualBox) -> bool:
    additions = source.guest_additions == "attach" and Path(medium).name == ADDITIONS
    return additions or (medium.endswith(".iso") and Path(medium).is_relative_to(folder))


def export_words(source: VirtualBox, name: str) -> list[str]:
    """Return the options of `export`: always with a manifest, so that damage is noticed wherever it is imported."""
    options = "manifest" if source.macs else "manifest,nomacs"
    texts = [f"--{key}={value}" for key, value in source.product.items()]
    return ["--ovf20", f"--options={options}", "--vsys=0", f"--vmname={name}", *texts]


def disk_of(machine: MachineInfo) -> str:
    """Return the UUID of a machine's first disk.

    Raises:
        DriverError: it has none, or more than one.
    """
    disks = [
        value
        for key, value in machine.values.items()
        if "-ImageUUID-" in key and not machine.values.get(key.replace("-ImageUUID", ""), "").endswith(".iso")
    ]
    if len(disks) != 1:
        raise DriverError(
            f"the machine has {len(disks)} disks", why="an image of a single disk is made of one", hint='format="ova"'
        )
    return disks[0]


def _write_disk(box: VBoxManage, machine: str, path: Path, form: str) -> None:
    """Write the disk, with all that it stands on, as one file, which VirtualBox then forgets."""
    kind, variant = VARIANTS[form]
    box.clone_medium(disk_of(box.must_have(machine)), path, format=kind, variant=variant)
    box.close_medium("disk", str(path))
