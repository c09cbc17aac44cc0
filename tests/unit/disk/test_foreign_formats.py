"""An image of another hypervisor is described so that QEMU reads it where it lies."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from bakery.disk import foreign_formats
from bakery.errors import DriverError
from bakery.util.context import WorkContext


def appliance(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            content = name.encode() * 100
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_the_disk_of_an_appliance_is_read_where_it_lies_in_the_archive(tmp_path: Path) -> None:
    path = appliance(tmp_path / "web.ova", "web.ovf", "web-disk001.vmdk", "web.mf")
    file = foreign_formats.block_device(path, "ova")["file"]
    content = path.read_bytes()[file["offset"] : file["offset"] + file["size"]]
    assert content == b"web-disk001.vmdk" * 100


@pytest.mark.parametrize("names", [("web.ovf",), ("web.ovf", "a.vmdk", "b.vmdk")])
def test_an_appliance_without_one_single_disk_is_said(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(DriverError, match="disks"):
        foreign_formats.block_device(appliance(tmp_path / "web.ova", *names), "ova")


def test_all_disks_of_an_appliance_are_described_in_its_order(tmp_path: Path) -> None:
    path = appliance(tmp_path / "web.ova", "web.ovf", "b.vmdk", "a.vmdk")
    places = [device["file"] for device in foreign_formats.block_devices(path, "ova")]
    contents = [path.read_bytes()[place["offset"] : place["offset"] + place["size"]] for place in places]
    assert contents == [b"b.vmdk" * 100, b"a.vmdk" * 100]


def test_a_file_that_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "web.ova").write_bytes(b"no archive" * 100)
    with pytest.raises(DriverError, match="cannot be read"):
        foreign_formats.block_device(tmp_path / "web.ova", "ova")


def test_a_vhd_is_as_large_as_it_says_and_not_as_its_geometry_says() -> None:
    assert foreign_formats.block_device(Path("/x.vhd"), "vhd") == {
        "driver": "vpc",
        "force_size_calc": "current_size",
        "file": {"driver": "file", "filename": "/x.vhd"},
    }


def test_a_disk_of_ours_is_lent_as_it_is(tmp_path: Path) -> None:
    with foreign_formats.readable(tmp_path / "x.raw", "raw", tmp_path, WorkContext(cache=tmp_path)) as lent:
        assert lent == [(tmp_path / "x.raw", "raw")]
