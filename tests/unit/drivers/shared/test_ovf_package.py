"""Packages are read whether they are one file or several, and one that is damaged is said to be."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.shared import ovf_package
from bakery.drivers.shared.ovf_package import open_package, unpacked, verify
from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from tests.appliances import descriptor, manifest, package, write_ova, write_ovf


@pytest.fixture
def work(tmp_path: Path) -> WorkContext:
    return WorkContext(cache=tmp_path)


def ova(folder: Path, files: dict[str, bytes]) -> Path:
    return write_ova(folder / "web.ova", files)


@pytest.mark.parametrize("write", [ova, write_ovf])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_package_is_read_and_is_what_its_manifest_says(
    tmp_path: Path, work: WorkContext, write: Callable[[Path, dict[str, bytes]], Path], algorithm: str
) -> None:
    found = open_package(write(tmp_path, package(b"a disk" * 1000, algorithm=algorithm)))
    assert b"".join(found.files["disk1.vmdk"].pieces()) == b"a disk" * 1000
    assert found.files["disk1.vmdk"].size == 6000
    assert set(found.manifest) == {"web.ovf", "disk1.vmdk"}
    assert "<VirtualSystem" in found.descriptor
    verify(found, work)


@pytest.mark.parametrize("write", [ova, write_ovf])
@pytest.mark.parametrize("name", ["web.ovf", "disk1.vmdk"])
def test_a_file_that_its_manifest_does_not_mean_is_said(
    tmp_path: Path, work: WorkContext, write: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    files = package()
    files[name] = files[name].replace(b"disk", b"risk") if name == "disk1.vmdk" else files[name] + b"\n"
    with pytest.raises(PreflightError, match=f"is damaged: {name} is not what its manifest says"):
        verify(open_package(write(tmp_path, files)), work)


def test_a_package_without_a_manifest_is_taken(tmp_path: Path, work: WorkContext) -> None:
    files = package()
    del files["web.mf"]
    found = open_package(ova(tmp_path, files))
    assert found.manifest == {}
    verify(found, work)


def without(name: str) -> dict[str, bytes]:
    return {one: data for one, data in package().items() if one != name}


def with_manifest(text: str) -> dict[str, bytes]:
    return {**package(), "web.mf": text.encode()}


def with_ovf(text: str) -> dict[str, bytes]:
    return {"web.ovf": text.encode(), "disk1.vmdk": b"a disk"}


@pytest.mark.parametrize("write", [ova, write_ovf])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        (without("disk1.vmdk"), "is not whole: disk1.vmdk is missing"),
        (with_manifest("SHA256(web.nvram)= " + "0" * 64), "is not whole: web.nvram is missing"),
        (with_manifest("SHA256(web.ovf)= 1234"), "the manifest of the appliance"),
        (with_manifest("<html>"), "the manifest of the appliance"),
        (with_ovf("<Envelope"), "cannot be read"),
        (with_ovf("<a/>"), "holds no OVF"),
        (with_ovf(descriptor(6, disk="https://example.com/disk1.vmdk")), "names a file outside of itself"),
        (with_ovf(descriptor(6, disk="../disk1.vmdk")), "names a file outside of itself"),
        (with_ovf(descriptor(6, disk="/etc/passwd")), "names a file outside of itself"),
    ],
)
def test_a_package_that_is_not_whole_is_refused(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], files: dict[str, bytes], said: str
) -> None:
    with pytest.raises(PreflightError) as error:
        open_package(write(tmp_path, files))
    assert said in error.value.what


def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.ova"
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(PreflightError, match=r"web.ova cannot be read"):
        open_package(path)
    with pytest.raises(PreflightError, match="holds no OVF") as error:
        open_package(write_ova(path, {"readme": b""}))
    assert error.value.why == "it holds readme"


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = ova(tmp_path, package(b"a disk" * 10_000))
    with path.open("r+b") as file:
        file.truncate(40_000)
    with pytest.raises(PreflightError) as error:
        open_package(path)
    assert "web.ova" in error.value.what


def test_a_file_that_shrinks_while_it_is_read_is_said(tmp_path: Path) -> None:
    found = open_package(write_ovf(tmp_path, package()))
    (tmp_path / "disk1.vmdk").write_bytes(b"")
    with pytest.raises(PreflightError, match="was cut off while it was read"):
        list(found.files["disk1.vmdk"].pieces())


@pytest.mark.parametrize("write", [ova, write_ovf])
def test_chunks_are_one_file(
    tmp_path: Path, work: WorkContext, write: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    chunks = {"disk1.vmdk.000000000": b"a d", "disk1.vmdk.000000001": b"isk"}
    files = {"web.ovf": descriptor(6, file=' ovf:chunkSize="3"').encode(), **chunks}
    found = open_package(write(tmp_path, {**files, "web.mf": manifest(files).encode()}))
    assert b"".join(found.files["disk1.vmdk"].pieces()) == b"a disk"
    verify(found, work)
    (tmp_path / "none").mkdir()
    with pytest.raises(PreflightError, match=r"disk1.vmdk is missing"):
        open_package(write(tmp_path / "none", {"web.ovf": files["web.ovf"]}))


def test_a_packed_file_is_unpacked_as_far_as_anybody_can(tmp_path: Path, work: WorkContext) -> None:
    data = gzip.compress(b"a ") + gzip.compress(b"disk")
    file = open_package(ova(tmp_path, {**package(data)})).files["disk1.vmdk"]
    assert unpacked(file, "", tmp_path / "out", work) is file
    whole = unpacked(file, "gzip", tmp_path / "out", work)
    assert b"".join(whole.pieces()) == b"a disk"
    assert (whole.name, whole.size) == ("disk1.vmdk", 6)
    with pytest.raises(PreflightError, match="cannot be unpacked") as error:
        unpacked(file, "lzma", tmp_path / "out", work)
    assert "packed by lzma" in error.value.why


@pytest.mark.parametrize("data", [b"no gzip at all", gzip.compress(b"a disk" * 100, mtime=0)[:-9]])
def test_a_packed_file_that_is_damaged_is_said(tmp_path: Path, work: WorkContext, data: bytes) -> None:
    file = open_package(ova(tmp_path, package(data))).files["disk1.vmdk"]
    with pytest.raises(PreflightError, match="cannot be unpacked"):
        unpacked(file, "gzip", tmp_path / "out", work)


def test_a_description_without_an_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovf_package, "LARGEST_TEXT", 100)
    with pytest.raises(PreflightError, match="cannot be read") as error:
        open_package(ova(tmp_path, package()))
    assert "its description has" in error.value.why


def test_whoever_waits_is_told_how_far_the_check_is(
    tmp_path: Path, work: WorkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovf_package, "TICK", -1.0)
    told: list[Any] = []
    verify(open_package(ova(tmp_path, package())), replace(work, emit=told.append))
    assert {event.what for event in told} == {"checking web.ova"}
