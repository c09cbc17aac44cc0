"""A source becomes the words that VBoxManage takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.drivers.virtualbox.api.answers import MachineInfo, machine_info
from bakery.drivers.virtualbox.machine import slots, words
from bakery.drivers.virtualbox.machine.slots import Slot
from bakery.drivers.virtualbox.source import VirtualBox
from tests.unit.drivers.virtualbox.box import info
from tests.unit.drivers.virtualbox.recorded import ANSWERS


def machine(*controllers: tuple[str, str], **attached: str) -> MachineInfo:
    more = {f"storagecontrollername{n}": name for n, (name, _) in enumerate(controllers)}
    more |= {f"storagecontrollertype{n}": kind for n, (_, kind) in enumerate(controllers)}
    more |= {f"storagecontrollerportcount{n}": "1" for n, _ in enumerate(controllers)}
    return machine_info(info(**more, **{key.replace("_", "-"): value for key, value in attached.items()}))


def test_the_hardware_is_as_asked_for() -> None:
    source = VirtualBox(base="x", memory="512M", cpus=3, firmware="efi-secure", chipset="ich9", tpm="2.0", usb="xhci")
    said = words.settings(source)
    assert {"--memory=512", "--cpus=3", "--firmware=efi", "--chipset=ich9", "--tpm-type=2.0"} <= set(said)
    assert [word for word in said if word.startswith("--usb")] == ["--usb-ohci=off", "--usb-ehci=off", "--usb-xhci=on"]


def test_what_a_guest_could_take_from_the_host_is_off() -> None:
    said = words.settings(VirtualBox(base="x"))
    assert {"--audio-enabled=off", "--clipboard-mode=disabled", "--drag-and-drop=disabled"} <= set(said)


def test_the_port_is_bound_to_loopback_and_the_host_is_out_of_reach() -> None:
    said = words.connections(VirtualBox(base="x"), port=20022, console=Path("/m/serial.log"))
    assert "--nat-pf1=bakery-ssh,tcp,127.0.0.1,20022,,22" in said
    assert "--nat-localhostreachable1=off" in said
    assert said[-2:] == ["file", "/m/serial.log"]


def test_the_users_own_words_come_last() -> None:
    source = VirtualBox(base="x", host_access=True, modifyvm=("--nested-hw-virt=on",))
    said = words.connections(source, port=1, console=Path("/x"))
    assert said[-1] == "--nested-hw-virt=on"
    assert "--nat-localhostreachable1=on" in said


def test_only_a_rule_that_is_there_is_deleted() -> None:
    assert words.disconnections(frozenset({"bakery-ssh", "web"}))[:3] == ["--nat-pf1", "delete", "bakery-ssh"]
    assert "--nat-pf1" not in words.disconnections(frozenset({"web"}))


@pytest.mark.parametrize(
    ("controller", "kind"),
    [("sata", "IntelAhci"), ("ide", "PIIX4"), ("scsi", "LSILogic"), ("nvme", "NVMe"), ("virtio", "VirtIO")],
)
def test_each_controller_is_one_that_virtualbox_has(controller: str, kind: str) -> None:
    source = VirtualBox.from_settings({"controller": controller})
    assert f"--controller={kind}" in words.controller(source)
    assert f"{' '.join(words.disk(source, Path('/d')))} ".count("--discard=on") == (controller == "sata")


def test_a_drive_goes_to_the_first_free_place() -> None:
    assert slots.free(machine(("disk", "PIIX4"), disk_0_0="/d")) == Slot("disk", 0, 1)
    assert slots.free(machine(("disk", "IntelAhci"), disk_0_0="/d", disk_1_0="/e")) == Slot("disk", 2, 0)
    assert slots.free(machine(("disk", "VirtioSCSI"), ("drives", "PIIX4"))) == Slot("drives", 0, 0)


def test_there_may_be_no_place_for_a_drive() -> None:
    assert slots.free(machine(("disk", "NVMe"), disk_0_0="/d")) is None
    assert slots.free(machine()) is None


def test_an_empty_drive_takes_its_place() -> None:
    assert slots.free(machine(("cd", "PIIX4"), cd_0_0="emptydrive")) == Slot("cd", 0, 1)


def test_ports_are_counted_as_virtualbox_says() -> None:
    assert slots.ports(machine_info(ANSWERS["info"].stdout), "disk") == 2
    assert slots.ports(machine_info(ANSWERS["info"].stdout), "other") == 0
