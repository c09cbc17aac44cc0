"""On a single ESXi host a machine is a copy of another's disks and settings, made with the types that vSphere takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere import destroy
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.machine import copy_machine
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, NotYet, PreflightError
from bakery.model import Resource
from bakery.state.claim import Claim
from bakery.testing.contract import RecordingLedger
from bakery.util.context import WorkContext
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.test_vsphere_machine import devices

VIM: Any = vim
DEVICE: Any = VIM.vm.device


def settings(name: str, *, firmware: str = "bios", present: list[Any] | None = None) -> Any:
    """A machine's own."""
    options = [VIM.option.OptionValue(key=key, value="x") for key in ("disk.EnableUUID", "sched.swap.derivedName")]
    return VIM.vm.ConfigInfo(
        version="vmx-19",
        guestId="debian12_64Guest",
        firmware=firmware,
        files=VIM.vm.FileInfo(vmPathName=f"[DS0] {name}/{name}.vmx"),
        bootOptions=VIM.vm.BootOptions(efiSecureBootEnabled=firmware == "efi", bootDelay=0),
        extraConfig=options,
        hardware=VIM.vm.VirtualHardware(
            numCPU=2, numCoresPerSocket=1, memoryMB=512, device=devices() if present is None else present
        ),
    )


@pytest.fixture
def host(api: InMemory, driver: VSphereDriver, monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """The vCenter in memory as a single host: with a machine `base`, and with what a host does to files."""
    api.machine("base", config=settings("base"))
    center = driver.centers.of_source(VSphere(base="base"))
    center.content.about.apiType = "HostAgent"
    center.content.customFieldsManager = None
    center.content.virtualDiskManager = VIM.VirtualDiskManager("disks", api)
    copies: list[Any] = []
    api.objects["copies"] = (object, {"made": copies})

    def make(_: Any, spec: Any, __: Any, ___: Any) -> Any:
        made = api.machine(spec.name, **{"config.annotation": spec.annotation, "config.files": spec.files})
        hardware = VIM.vm.VirtualHardware(numCPU=1, memoryMB=64, device=[one.device for one in spec.deviceChange])
        api.change(made, **{"config": spec, "config.hardware": hardware})
        return made

    def copy_disk(_: Any, file: str, *words: Any) -> None:
        copies.append((file, words[1], words[3]))
        api.files.add(words[1])

    def copy_file(_: Any, file: str, __: Any, to: str, *words: Any) -> None:
        if file not in api.files:
            raise VIM.fault.FileNotFound(msg="none", file=file)
        api.files.add(to)

    for name, work in (
        ("CreateVM_Task", make),
        ("CopyVirtualDisk_Task", copy_disk),
        ("CopyDatastoreFile_Task", copy_file),
    ):
        monkeypatch.setattr(api, f"_{name}", work, raising=False)
    monkeypatch.setattr(api, "_MakeDirectory", lambda *_: None, raising=False)
    return api


def source(**options: Any) -> VSphere:
    return VSphere(**{"base": "base", "image": "machine", **options})


def center_of(driver: VSphereDriver) -> VCenter:
    return driver.centers.of_source(source())


def made_of(api: InMemory, machine: str) -> Any:
    return api.objects[machine][1]["config"]


def test_a_copy_has_the_disks_the_controllers_and_the_cards(
    host: InMemory, driver: VSphereDriver, claim: Claim
) -> None:
    assert list(driver.check(source())) == []
    handle = driver.launch(source(), claim)
    ((file, to, wanted),) = host.objects["copies"][1]["made"]
    assert (file, to) == ("[ds] base/base.vmdk", f"[DS0] {claim.name}/disk-0.vmdk")
    assert (wanted.diskType, wanted.adapterType) == ("thin", "lsiLogic")
    spec = made_of(host, handle.id)
    assert (spec.numCPUs, spec.memoryMB, spec.guestId, spec.version) == (2, 512, "debian12_64Guest", "vmx-19")
    assert spec.files.vmPathName == f"[DS0] {claim.name}/{claim.name}.vmx"
    assert [option.key for option in spec.extraConfig] == ["disk.EnableUUID"]
    controller, disk, card = (change.device for change in spec.deviceChange)
    assert isinstance(controller, DEVICE.ParaVirtualSCSIController)
    assert (disk.controllerKey, disk.unitNumber, disk.backing.fileName) == (controller.key, 0, to)
    assert (card.addressType, card.macAddress, card.backing.deviceName) == ("generated", None, "old")
    assert all(change.fileOperation is None for change in spec.deviceChange)
    assert f"bakery:run={claim.run}" in spec.annotation


def test_an_image_is_a_machine_that_is_off_and_its_test_is_a_copy(
    host: InMemory, driver: VSphereDriver, claim: Claim
) -> None:
    handle = driver.launch(source(datastore="DS0"), claim)
    host.change(center_of(driver).machine(handle.id), config=settings(claim.name))
    artifact = driver.capture(handle, "web", replace(claim, role="image", name=f"{claim.name}-image"))
    assert artifact.format == "machine"
    assert host.called("MarkAsTemplate") == host.called("CreateSnapshot_Task") == 0
    driver.launch(artifact, replace(claim, role="smoke", name=f"{claim.name}-smoke"))
    kept = driver.keep(artifact, "web", replace(claim, role="keep", name=f"{claim.name}-keep"))
    assert isinstance(claim.ledger, RecordingLedger)
    assert driver.intact(kept)
    assert len(host.objects["copies"][1]["made"]) == 2


def test_what_the_firmware_remembers_is_copied_where_there_is_something(
    host: InMemory, driver: VSphereDriver, claim: Claim
) -> None:
    base = next(moid for moid, (_, values) in host.objects.items() if values.get("name") == "base")
    host.objects[base][1]["config"] = settings("base", firmware="efi")
    handle = driver.launch(source(), claim)
    assert made_of(host, handle.id).bootOptions.efiSecureBootEnabled
    assert f"[DS0] {claim.name}/{claim.name}.nvram" not in host.files
    host.files.add("[DS0] base/base.nvram")
    other = replace(claim, name=f"{claim.name}-2")
    driver.launch(source(), other)
    assert f"[DS0] {other.name}/{other.name}.nvram" in host.files


def test_disks_that_no_machine_has_yet_go_with_their_folder(
    host: InMemory, driver: VSphereDriver, claim: Claim
) -> None:
    host.faults["CreateVM_Task"] = VIM.fault.InsufficientResourcesFault(msg="no room")
    with pytest.raises(DriverError, match="did not make a machine of the disks of base"):
        driver.launch(source(), claim)
    assert host.files == {f"[DS0] {claim.name}/disk-0.vmdk"}
    assert isinstance(claim.ledger, RecordingLedger)
    claim.ledger.undo(VSphereDriver())
    assert host.files == set()


def test_a_copy_that_goes_on_is_waited_for(host: InMemory, driver: VSphereDriver) -> None:
    center = center_of(driver)
    place = {"directory": "[DS0] bakery-x", "datacenter": "dc-1", **center.record}
    record = Resource(driver="vsphere", kind="machine", key="bakery-x", data=place)
    running = {"info.state": "running", "info.descriptionId": "VirtualDiskManager.copyVirtualDisk"}
    host.objects["tasks"] = (VIM.TaskManager, {"recentTask": [host.add(VIM.Task, "task-x", **running)]})
    with pytest.raises(NotYet):
        destroy._end(center, record, WorkContext(cache=Path()))
    host.objects["tasks"][1]["recentTask"] = []
    destroy._end(center, record, WorkContext(cache=Path()))


def test_a_folder_that_is_there_already_is_ours(host: InMemory, driver: VSphereDriver, claim: Claim) -> None:
    host.faults["MakeDirectory"] = VIM.fault.FileAlreadyExists(msg="it is", file="x")
    assert driver.launch(source(), claim).id
    host.faults["MakeDirectory"] = VIM.fault.InvalidDatastore(msg="no such store")
    with pytest.raises(DriverError, match="did not make the folder"):
        driver.launch(source(), replace(claim, name=f"{claim.name}-2"))


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ([], "the base has no disk that could be copied"),
        (
            [DEVICE.VirtualDisk(key=1, backing=DEVICE.VirtualDisk.RawDiskMappingVer1BackingInfo(fileName="x"))],
            "the base has a disk that cannot be copied",
        ),
    ],
)
def test_a_disk_that_cannot_be_copied_is_said_before_anything_is_made(
    host: InMemory, driver: VSphereDriver, claim: Claim, present: list[Any], said: str
) -> None:
    host.machine("odd", config=settings("odd", present=present))
    with pytest.raises(PreflightError, match=said):
        driver.launch(source(base="odd"), claim)
    assert isinstance(claim.ledger, RecordingLedger)
    assert claim.ledger.resources == {}


def test_a_base_must_be_there_and_is_copied_as_it_is(host: InMemory, driver: VSphereDriver) -> None:
    center = center_of(driver)
    ref = center.machine("vm-1")
    with pytest.raises(PreflightError, match="is gone, or cannot be read"):
        copy_machine.config_of(center, CloneBase(ref=ref, values={"name": "debian"}))
    with pytest.raises(PreflightError, match="cannot copy debian at a snapshot"):
        copy_machine.config_of(center, CloneBase(ref=ref, values={"name": "debian"}, snapshot="snap-1"))
    assert host.called("CreateVM_Task") == 0
