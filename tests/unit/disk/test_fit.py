"""Disks that cannot hold what they stand on, as far as that is known without making one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.disk import fit
from bakery.disk.layout import MIB
from bakery.drivers.nspawn.source import Nspawn
from bakery.drivers.qemu.driver import check_base
from bakery.drivers.qemu.layers import virtual_size
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError, ImagefileError
from bakery.model import Artifact
from bakery.util.context import WorkContext


@pytest.mark.parametrize("disk", ["0", 0, -1, "-1G", True, 0.5, "0G"])
@pytest.mark.parametrize("source", [Qemu, Nspawn])
def test_a_size_that_no_disk_has_is_refused_when_the_file_is_read(source: type[Qemu], disk: str) -> None:
    with pytest.raises(ImagefileError, match="is not a size"):
        source(base=None, disk=disk)


def test_a_container_needs_a_disk_that_holds_more_than_boot_loaders() -> None:
    with pytest.raises(ImagefileError, match="too small for any system"):
        Nspawn(base=None, disk="100M")


def test_a_base_that_cannot_fit_is_told_before_the_first_task_with_the_size_that_it_needs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / fit.NOTE).write_text(str(700 * MIB))
    work = WorkContext(cache=tmp_path)
    with pytest.raises(DriverError, match="its base's files need 7") as caught:
        fit.require(tree, 700 * MIB, work)
    needed = int(caught.value.hint.split('"')[1].removesuffix("M"))
    fit.require(tree, needed * MIB, work)


def test_a_disk_that_no_file_can_hold_is_told_before_the_first_task(tmp_path: Path) -> None:
    fit.require_file(tmp_path / "not" / "yet", 8 << 30)
    with pytest.raises(DriverError, match=r"no file in .* can be as large"):
        fit.require_file(tmp_path, 1 << 70)
    assert list(tmp_path.iterdir()) == []


def test_a_virtual_machine_on_an_image_with_a_larger_disk_is_told_in_pre_flight(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(20) + (4 << 30).to_bytes(8, "big"))
    assert virtual_size(image) == 4 << 30
    artifact = Artifact(driver="qemu", id=str(image), name="golden", format="qcow2")
    problems = list(check_base(Qemu(base=artifact, disk="2G")))
    assert [problem.what for problem in problems] == ["disk= is 2048 MiB, its base 4096 MiB: a disk cannot shrink"]
    assert list(check_base(Qemu(base=artifact, disk="4G"))) == []
    assert list(check_base(Qemu(base=artifact))) == []


def test_what_no_virtual_machine_can_boot_is_told_in_pre_flight() -> None:
    (problem,) = check_base(Qemu(base="bookworm"))
    assert "Qemu(base='bookworm')" in problem.what
    assert "Debian(...)" in problem.hint
