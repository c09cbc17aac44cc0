"""QEMU's command line."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.qemu import accel_probe
from bakery.drivers.qemu.command import Placement, command
from bakery.drivers.qemu.firmware import Firmware
from bakery.drivers.qemu.layers import Layer, node
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec

IDENTITY = MachineIdentity(accel="tcg", uuid="u-u-i-d", mac="52:54:00:01:02:03", instance="i-1")
PLACE = Placement(
    name="bakery-r-1",
    folder=Path("/run/1"),
    layers=(Layer("/cache/base.raw", "raw"), Layer("/run/1/disk-1.qcow2", "qcow2")),
)


def blockdevs(words: list[str]) -> list[dict[str, Any]]:
    return [json.loads(after) for before, after in pairwise(words) if before == "-blockdev"]


def devices(words: list[str]) -> list[str]:
    return [after for before, after in pairwise(words) if before == "-device"]


@pytest.mark.parametrize(
    ("bus", "device"),
    [
        ("virtio", "virtio-blk-pci,drive=disk2,id=disk2,serial=disk2,werror=report,rerror=report"),
        ("scsi", "scsi-hd,bus=scsi.0,drive=disk2,id=disk2,serial=disk2,werror=report,rerror=report"),
        ("sata", "ide-hd,bus=ide.2,drive=disk2,id=disk2,serial=disk2,werror=report,rerror=report"),
        ("nvme", "nvme,serial=disk2,drive=disk2,id=disk2"),
    ],
)
def test_a_further_disk_stands_beside_the_first_and_is_known_by_its_serial_number(bus: str, device: str) -> None:
    place = replace(PLACE, further={"disk2": (Layer("/run/1/disk2-0.qcow2", "qcow2"),)})
    words = command(MachineSpec(disk_bus=bus), IDENTITY, place)
    first, second = blockdevs(words)
    assert (first["node-name"], second["node-name"]) == ("disk", "disk2")
    assert second["file"]["filename"] == "/run/1/disk2-0.qcow2"
    assert device in devices(words)


def test_only_loopback_is_bound_and_the_kernel_picks_the_port() -> None:
    netdev = next(word for word in command(MachineSpec(), IDENTITY, PLACE) if word.startswith("user,"))
    assert "hostfwd=tcp:127.0.0.1:0-:22" in netdev


def test_every_processor_is_emulated_in_a_thread_of_its_own_where_nothing_accelerates() -> None:
    words = command(MachineSpec(cpus=3), IDENTITY, PLACE)
    assert "tcg,thread=multi" in words
    assert words[words.index("-cpu") + 1] == "max,-la57,-svm,-erms,-fsrm"
    assert words[words.index("-smp") + 1] == "3"


def test_an_accelerated_machine_has_the_hosts_processor() -> None:
    words = command(MachineSpec(), replace(IDENTITY, accel="kvm"), PLACE)
    assert words[words.index("-accel") + 1] == "kvm"
    assert words[words.index("-cpu") + 1] == "host"


def test_the_disk_gives_back_what_the_guest_deletes_and_nothing_below_is_asked_for_its_header() -> None:
    (disk,) = blockdevs(command(MachineSpec(), IDENTITY, PLACE))
    assert disk["file"]["filename"] == "/run/1/disk-1.qcow2"
    assert disk["discard"] == "unmap"
    assert disk["detect-zeroes"] == "unmap"
    assert disk["backing"]["driver"] == "raw"
    assert disk["backing"]["file"]["filename"] == "/cache/base.raw"
    assert "backing" not in disk["backing"]


@pytest.mark.parametrize(
    ("bus", "machine", "disk", "seed"),
    [
        ("virtio", "q35", "virtio-blk-pci", "virtio-blk-pci"),
        ("scsi", "q35", "scsi-hd,bus=scsi.0", "scsi-hd,bus=scsi.0"),
        ("sata", "q35", "ide-hd,bus=ide.0", "ide-hd,bus=ide.1"),
        ("sata", "pc", "ide-hd,bus=sata.0", "ide-hd,bus=sata.1"),
        ("nvme", "q35", "nvme,serial=bakery0", "nvme,serial=bakery1"),
    ],
)
def test_the_seed_is_on_the_bus_of_the_disk(bus: str, machine: str, disk: str, seed: str) -> None:
    words = command(MachineSpec(disk_bus=bus, machine=machine), IDENTITY, replace(PLACE, seed=True))
    assert any(word.startswith(f"{disk},drive=disk,id=root,bootindex=0") for word in devices(words))
    assert any(word.startswith(f"{seed},drive=seed.iso") for word in devices(words))
    assert blockdevs(words)[1]["read-only"] is (bus != "nvme")


def test_credentials_are_named_by_file_and_never_spelt_out() -> None:
    words = command(MachineSpec(), IDENTITY, replace(PLACE, credentials=("credentials.smbios",)))
    assert "type=11,path=credentials.smbios" in words
    assert not any("value=" in word for word in words)


def test_firmware_in_a_folder_with_a_comma_is_escaped() -> None:
    firmware = Firmware(Path("/opt/a,b/CODE.fd"), Path("/opt/a,b/VARS.fd"))
    words = command(MachineSpec(firmware="uefi"), IDENTITY, replace(PLACE, firmware=firmware))
    assert "if=pflash,format=raw,readonly=on,file=/opt/a,,b/CODE.fd" in words


def test_the_users_words_come_last_so_that_they_win() -> None:
    assert command(MachineSpec(qemu_args=("-m", "3G")), IDENTITY, PLACE)[-2:] == ["-m", "3G"]


def test_a_disk_of_one_layer_has_nothing_below() -> None:
    assert "backing" not in node([Layer("/a", "qcow2")])


def test_the_boot_sector_is_a_boot_sector_and_its_addresses_are_where_its_code_says() -> None:
    disk = accel_probe.disk()
    assert disk[510:512] == b"\x55\xaa"
    assert len(disk) == 1 << 20
    assert disk[0x60:0x65] == bytes.fromhex("b810000000")  # 64-bit code, jumped to at 0x7c60
    assert disk[0x81:0x83] == bytes.fromhex("48cf")  # the handler, which gate 3 at 0x7cdb names
    assert disk[0xDB:0xDD] == bytes.fromhex("817c")
    assert int.from_bytes(disk[0x9D:0xA1], "little") == 0x7C83  # the segments' pointer
    assert int.from_bytes(disk[0xA3:0xA7], "little") == 0x7CAB  # the interrupts' pointer


@pytest.mark.parametrize(
    ("machine", "networked", "slots"),
    [("q35", True, ["pcie-root-port,id=lan-port,chassis=1"]), ("q35", False, []), ("pc", True, [])],
)
def test_a_card_can_be_plugged_in_later_where_that_is_wanted(machine: str, networked: bool, slots: list[str]) -> None:
    words = command(MachineSpec(machine=machine), IDENTITY, replace(PLACE, networked=networked))
    assert [device for device in devices(words) if device.startswith("pcie-root-port")] == slots
