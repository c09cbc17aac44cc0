"""What users may write in Qemu(...)."""

from __future__ import annotations

from typing import Any

import pytest

from bakery.drivers.qemu.driver import QemuDriver
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec
from bakery.drivers.qemu.source import Qemu, size
from bakery.errors import ImagefileError
from bakery.model import Artifact, Checkpoint, Needs, from_json


@pytest.mark.parametrize(
    ("text", "octets"),
    [("512M", 512 << 20), ("1G", 1 << 30), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("2 GB", 2 << 30), (4096, 4096)],
)
def test_sizes_are_read_as_people_write_them(text: str | int, octets: int) -> None:
    assert size(text, field="memory") == octets


@pytest.mark.parametrize("text", ["", "much", "-1G", "1 2G", "1P"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ImagefileError, match="is not a size") as caught:
        size(text, field="memory")
    assert "512M" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"firmware": "efi"}, "'bios', 'uefi'"),
        ({"disk_bus": "ide"}, "'virtio', 'scsi', 'sata', 'nvme'"),
        ({"accel": "xen"}, "'auto', 'kvm', 'hvf', 'tcg'"),
        ({"machine": "virt"}, "'q35', 'pc'"),
        ({"format": "vmdk"}, "'qcow2', 'raw'"),
        ({"cpus": 0}, "cpus=1"),
        ({"memory": "1M"}, "64M"),
        ({"nic": "virtio,mac=1"}, "virtio-net-pci"),
        ({"qemu_args": "-s -S"}, "qemu_args=["),
        ({"disk": "large"}, "2G"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(values: dict[str, Any], shown: str) -> None:
    with pytest.raises(ImagefileError) as caught:
        Qemu(base=None, **values)
    assert shown in caught.value.hint


def test_a_list_of_words_becomes_a_tuple_so_that_sources_compare_and_hash() -> None:
    source = Qemu(base=None, qemu_args=["-device", "usb-ehci"])  # type: ignore[arg-type]  # what users write
    assert source.qemu_args == ("-device", "usb-ehci")
    assert hash(source) == hash(Qemu(base=None, qemu_args=("-device", "usb-ehci")))


def test_a_shape_survives_the_artifacts_json() -> None:
    shape = MachineSpec.of(Qemu(base=None, memory="2G", qemu_args=("-s",), firmware="uefi"), "credentials")
    assert from_json(MachineSpec, shape.to_json()) == shape
    assert shape.memory == 2 << 30


def test_settings_of_another_driver_make_a_shape_of_defaults() -> None:
    assert from_json(MachineSpec, {"login": "credentials", "region": "eu-central-1"}) == MachineSpec(
        login="credentials"
    )


def test_no_two_identities_are_the_same_and_none_has_qemus_own_card() -> None:
    one, other = MachineIdentity.new("tcg", "a"), MachineIdentity.new("tcg", "a")
    assert one.uuid != other.uuid
    assert one.mac != other.mac
    assert "52:54:00:12:34:56" not in (one.mac, other.mac)
    assert from_json(MachineIdentity, {"accel": "tcg", "uuid": "u", "mac": "m", "instance": "a", "pid": 1}).uuid == "u"


def test_the_scheduler_hears_what_a_machine_needs_whatever_it_starts_from() -> None:
    driver, shape = QemuDriver(), MachineSpec(memory=3 << 30, cpus=4, accel="tcg")
    starts = (
        Qemu(base=None, memory="3G", cpus=4, accel="tcg"),
        Artifact(driver="qemu", id="/a", name="a", settings=shape.to_json()),
        Checkpoint(driver="qemu", key="k", settings={"shape": shape.to_json()}),
    )
    assert {driver.needs(start) for start in starts} == {Needs(memory=3 << 30, cpus=4)}
