"""Hardware that is asked for less often is handed on with vSphere's own types, and wrong values are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.hardware_options import Hardware
from bakery.drivers.vsphere.machine import hardware, more_hardware
from bakery.drivers.vsphere.options import ExtraDisk
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import ImagefileError, PreflightError
from bakery.state.claim import Claim
from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.test_vsphere_machine import devices

VIM: Any = vim
DEVICE: Any = VIM.vm.device
MAC, OTHER = "00:50:56:00:00:01", "00:50:56:00:00:02"


def config(*, networks: tuple[Any, ...] = (), present: list[Any] | None = None, **options: Any) -> Any:
    more = {
        name: options.pop(name) for name in ("nic", "secure_boot", "firmware", "cpu_reservation") if name in options
    }
    source = VSphere(base="debian", hardware=Hardware(**options), **more)
    return hardware.config(source, networks, devices() if present is None else present)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": 0}, "Hardware(version=0): a number, at least 1"),
        ({"cpu_limit": "100"}, "Hardware(cpu_limit='100'): a number, at least 1"),
        ({"displays": True}, "Hardware(displays=True): a number, at least 1"),
        ({"nested": "yes"}, "Hardware(nested='yes'): True or False"),
        ({"usb": "usb4"}, "Hardware(usb='usb4'): must be one of 'usb2', 'usb3'"),
        ({"precision_clock": "gps"}, "must be one of 'ptp', 'ntp'"),
        ({"boot_order": ("disk", "usb")}, "Hardware(boot_order=['usb'])"),
        ({"macs": "00:50:56"}, "Hardware(macs=['00:50:56'])"),
        ({"video_memory": "much"}, "is not a size"),
    ],
)
def test_a_wrong_value_is_said_with_what_is_allowed(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImagefileError) as error:
        Hardware(**options)
    assert said in str(error.value)


def test_it_comes_back_from_what_an_image_remembers() -> None:
    source = VSphere(base="debian", hardware=Hardware(nested=True, boot_order=("disk", "network"), macs=MAC))
    assert VSphere.from_settings(json.loads(json.dumps(source.settings())), base="debian") == source


def test_plain_settings_are_handed_on() -> None:
    spec = config(
        cpu_limit=2000,
        cpu_reservation=100,
        cpu_hot_add=True,
        memory_hot_add=False,
        nested=True,
        vbs=True,
        iommu=True,
        sync_time=False,
        upgrade_tools=True,
    )
    assert (spec.cpuAllocation.limit, spec.cpuAllocation.reservation) == (2000, 100)
    assert (spec.cpuHotAddEnabled, spec.memoryHotAddEnabled, spec.nestedHVEnabled) == (True, False, True)
    assert (spec.flags.vbsEnabled, spec.flags.vvtdEnabled) == (True, True)
    assert (spec.tools.syncTimeWithHost, spec.tools.toolsUpgradePolicy) == (False, "upgradeAtPowerCycle")
    assert config(upgrade_tools=False).tools.toolsUpgradePolicy == "manual"


def test_nothing_is_said_of_what_nobody_asked_for() -> None:
    spec = config()
    for name in ("cpuAllocation", "cpuHotAddEnabled", "nestedHVEnabled", "flags", "tools", "bootOptions"):
        assert getattr(spec, name) is None
    assert list(spec.deviceChange) == []


def test_the_boot_order_is_of_devices_that_are_there() -> None:
    spec = config(boot_order=("network", "disk"), firmware="efi", secure_boot=True)
    network, disk = spec.bootOptions.bootOrder
    assert isinstance(network, VIM.vm.BootOptions.BootableEthernetDevice)
    assert (network.deviceKey, disk.deviceKey) == (4000, 2000)
    assert spec.bootOptions.efiSecureBootEnabled
    drives = [*devices(), DEVICE.VirtualCdrom(key=3000), DEVICE.VirtualCdrom(key=3001)]
    (drive,) = config(boot_order="cdrom", present=drives).bootOptions.bootOrder
    assert isinstance(drive, VIM.vm.BootOptions.BootableCdromDevice)
    with pytest.raises(PreflightError, match="has no floppy"):
        config(boot_order="floppy")


def test_the_video_card_is_changed() -> None:
    present = [*devices(), DEVICE.VirtualVideoCard(key=500, useAutoDetect=True)]
    (change,) = config(video_memory="16M", displays=2, present=present).deviceChange
    assert (change.operation, change.device.key) == ("edit", 500)
    assert (change.device.videoRamSizeInKB, change.device.numDisplays) == (16 << 10, 2)
    assert not change.device.useAutoDetect
    with pytest.raises(PreflightError, match="has no video card"):
        config(video_memory="16M")


def test_devices_are_added_once() -> None:
    options: dict[str, Any] = {"usb": "usb3", "precision_clock": "ptp", "vgpu": "grid_t4-4q"}
    spec = config(**options)
    assert {type(change.device) for change in spec.deviceChange} == {
        DEVICE.VirtualUSBXHCIController,
        DEVICE.VirtualPrecisionClock,
        DEVICE.VirtualPCIPassthrough,
    }
    assert len({change.device.key for change in spec.deviceChange}) == 3
    assert not hardware.repeatable(spec)
    again = config(**options, present=[*devices(), *(change.device for change in spec.deviceChange)])
    assert list(again.deviceChange) == []
    assert hardware.repeatable(again)
    (usb,) = config(usb="usb2").deviceChange
    assert usb.device.ehciEnabled


def backing(name: str) -> Any:
    return DEVICE.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)


def test_addresses_are_for_the_first_cards_whatever_else_happens_to_these() -> None:
    (kept,) = config(macs=MAC).deviceChange
    assert (kept.operation, kept.device.addressType, kept.device.macAddress) == ("edit", "manual", MAC)
    joined, added = config(macs=(MAC, OTHER), networks=(backing("a"), backing("b"))).deviceChange
    assert [(one.operation, one.device.macAddress) for one in (joined, added)] == [("edit", MAC), ("add", OTHER)]
    removed, replaced = config(macs=MAC, nic="vmxnet3").deviceChange
    assert (removed.operation, removed.device.macAddress) == ("remove", None)
    assert (replaced.operation, replaced.device.macAddress) == ("add", MAC)
    with pytest.raises(PreflightError, match="2 addresses for 1 network cards"):
        config(macs=(MAC, OTHER))


def test_the_image_has_no_address_that_was_given(
    api: InMemory, driver: VSphereDriver, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = api.objects["vm-1"][1]
    card = DEVICE.VirtualVmxnet3(key=4000, backing=backing("VM Network"), addressType="assigned", macAddress=OTHER)
    values["config.hardware"].device.append(card)
    clone = api._CloneVM_Task

    def cloned(*words: Any) -> Any:
        made = clone(*words)
        api.change(made, **{"config.hardware": values["config.hardware"]})
        return made

    monkeypatch.setattr(api, "_CloneVM_Task", cloned)
    source = VSphere(base="debian", cluster="C0", hardware=Hardware(macs=MAC))
    assert list(driver.check(source)) == []
    assert not driver.overlaps(source)
    handle = driver.launch(source, claim)
    assert (card.addressType, card.macAddress) == ("manual", MAC)
    driver.capture(handle, "web", replace(claim, role="image", name=f"{claim.name}-image"))
    assert (card.addressType, card.macAddress) == ("generated", "")
    assert more_hardware.without_macs([card]) == []


def test_a_machine_is_brought_to_a_newer_version_and_never_to_an_older_one(
    api: InMemory, driver: VSphereDriver, claim: Claim
) -> None:
    api.objects["vm-1"][1]["config.version"] = "vmx-13"
    (problem,) = driver.check(VSphere(base="debian", cluster="C0", hardware=Hardware(version=9)))
    assert (problem.what, problem.why) == ("Hardware(version=9): the base has vmx-13", "it can only go up")
    handle = driver.launch(VSphere(base="debian", cluster="C0", hardware=Hardware(version=19)), claim)
    assert api.objects[handle.id][1]["config.version"] == "vmx-19"
    center = driver.centers.of(handle.data)
    more_hardware.upgrade(center, center.machine(handle.id), Hardware(version=19), claim)
    assert api.called("UpgradeVM_Task") == 1


def test_an_upgrade_that_was_done_although_the_answer_says_otherwise_is_done(
    api: InMemory, driver: VSphereDriver, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = api._UpgradeVM_Task

    def twice(*words: Any) -> None:
        upgrade(*words)
        raise VIM.fault.AlreadyUpgraded(msg="it is")

    monkeypatch.setattr(api, "_UpgradeVM_Task", twice)
    driver.launch(VSphere(base="debian", cluster="C0", hardware=Hardware(version=19)), claim)

    def refuse(*_: Any) -> None:
        raise VIM.fault.InvalidState(msg="no such version")

    monkeypatch.setattr(api, "_UpgradeVM_Task", refuse)
    with pytest.raises(Exception, match="did not bring the machine to vmx-99"):
        driver.launch(
            VSphere(base="debian", cluster="C0", hardware=Hardware(version=99)), replace(claim, name=f"{claim.name}x")
        )


def test_a_disk_that_is_written_with_zeros_is_thick() -> None:
    source = VSphere(base="debian", disks=(ExtraDisk(size="1G", thin=False, eager=True),))
    (change,) = hardware.config(source, [], devices()).deviceChange
    assert change.device.backing.eagerlyScrub
    with pytest.raises(ImagefileError, match="takes no space beforehand"):
        ExtraDisk(size="1G", eager=True)
