"""Disks beside the first: which a machine has, what they stand on, and what is written of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.disk import image_files, reserve
from bakery.drivers import Debian, Disk, Partition, Qemu
from bakery.drivers.qemu import further_disks
from bakery.drivers.qemu.further_disks import FurtherDisk, disks_for, make
from bakery.drivers.qemu.layers import Layer, Layers, further
from bakery.model import Artifact
from bakery.state.claim import Claim
from tests.unit.fake_tools import FakeTools

IMAGE = Artifact(
    driver="qemu", id="/i/golden.qcow2", name="golden", format="qcow2", data={"disks": [{"name": "disk2"}]}
)
BELOW = (Layer("/i/golden.disk2.qcow2", "qcow2"),)


def test_a_machine_has_the_disks_of_its_image_and_then_those_of_its_source() -> None:
    assert disks_for(IMAGE) == [FurtherDisk(name="disk2", below=BELOW)]
    own = Disk("1G")
    assert disks_for(Qemu(base=IMAGE, disks=(own,))) == [
        FurtherDisk(name="disk2", below=BELOW),
        FurtherDisk(name="disk3", wanted=own),
    ]
    assert disks_for(Qemu(base=Debian("bookworm"), disks=(own,))) == [FurtherDisk(name="disk2", wanted=own)]
    assert disks_for(Qemu(base=Debian("bookworm"))) == []


def test_new_disks_are_empty_or_have_their_partitions_and_are_known_again(
    claim: Claim, folder: Path, monkeypatch: pytest.MonkeyPatch, tools: FakeTools
) -> None:
    made: list[tuple[str, int]] = []
    labelled: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        "bakery.drivers.qemu.layers.qemuimg.create", lambda path, size, **_: made.append((path.name, size))
    )
    monkeypatch.setattr(
        further_disks,
        "label",
        lambda disk, _size, layout, _work: labelled.append((disk.name, [part.name for part in layout])),
    )
    disks = [Disk("1G"), Disk("2G", [Partition("1G", mount="/srv")])]
    layers = make([FurtherDisk(name=f"disk{n}", wanted=disk) for n, disk in enumerate(disks, 2)], claim)
    assert made == [("disk2-0.qcow2", 1 << 30), ("disk3-0.qcow2", 2 << 30)]
    assert labelled == [("disk3-0.qcow2", ["srv"])]
    assert layers["disk2"] == (Layer(str(folder / "disk2-0.qcow2"), "qcow2"),)
    assert further(folder) == ["disk2", "disk3"]
    assert Layers.read(folder, "disk3") == Layers(shared=(), top="disk3-0.qcow2")


def test_the_order_of_many_disks_is_that_of_their_numbers(folder: Path) -> None:
    for name in ("disk", "disk10", "disk2"):
        Layers(shared=(), top="x").write(folder, name)
    assert further(folder) == ["disk2", "disk10"]


def test_an_images_further_disk_lies_beside_it() -> None:
    assert image_files.disk_path(Path("/i/web-1.4.qcow2"), "disk2") == Path("/i/web-1.4.disk2.qcow2")


def test_the_partitions_of_an_empty_disk_end_where_it_does() -> None:
    script = reserve._script([Partition("512M", mount="/srv")], (1 << 30) - (1 << 20), 1 << 20)
    start = int(script.split("start=")[1].split(",")[0])
    assert start * 512 == (1 << 30) - (1 << 20) - (512 << 20)
