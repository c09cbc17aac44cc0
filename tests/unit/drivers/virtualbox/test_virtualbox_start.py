"""What a machine starts from is found, checked, and copied as a disk of its own; a port is found for it."""

from __future__ import annotations

import hashlib
import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bakery.disk import qemuimg
from bakery.disk.bases.base import Base, BaseDisk
from bakery.disk.bases.download import Downloader
from bakery.drivers.virtualbox.machine import base_images, disks, ports
from bakery.drivers.virtualbox.machine.base_images import StartAppliance, StartDisk
from bakery.drivers.virtualbox.options import Appliance, RegisteredMachine
from bakery.errors import DriverError, ImagefileError, PreflightError
from bakery.model import Artifact
from bakery.util import tools
from bakery.util.context import WorkContext
from tests.unit.drivers.virtualbox.test_virtualbox_check import OVF

OVA = b"an appliance"
SHA256 = hashlib.sha256(OVA).hexdigest()
ADDRESS = "https://example.com/web.ova"


class Made(Base):
    """A base whose disk is there."""

    def check(self) -> Any:
        raise AssertionError

    def disk(self, work: WorkContext) -> BaseDisk:
        return BaseDisk(path=work.cache / "base.qcow2", format="qcow2", key="k1", login="nocloud")

    def key(self, work: WorkContext) -> str:
        del work
        return "k1"


@pytest.fixture
def work(tmp_path: Path) -> WorkContext:
    return WorkContext(cache=tmp_path)


def image(path: str, form: str) -> Artifact:
    return Artifact(driver="qemu", id=path, name="web", format=form)


@pytest.mark.parametrize("form", ["qcow2", "raw", "vdi", "vmdk", "vhd"])
def test_a_disk_of_any_of_these_formats_is_copied(work: WorkContext, form: str) -> None:
    assert base_images.resolve(image(f"/i/web.{form}", form), work) == StartDisk(Path(f"/i/web.{form}"), form)


def test_an_appliance_is_imported_and_a_registered_machine_is_cloned(work: WorkContext) -> None:
    assert base_images.resolve(image("/i/web.ova", "ova"), work) == StartAppliance(Path("/i/web.ova"))
    golden = RegisteredMachine("golden")
    assert base_images.resolve(golden, work) is golden


def test_a_base_is_made_first(work: WorkContext) -> None:
    assert base_images.resolve(Made(), work) == StartDisk(work.cache / "base.qcow2", "qcow2")


def test_an_image_of_a_cloud_is_no_file_of_this_host(work: WorkContext) -> None:
    with pytest.raises(PreflightError, match="not a file on this host"):
        base_images.resolve(image("ami-1234", "ami"), work)


def test_an_image_of_another_format_is_refused(work: WorkContext) -> None:
    with pytest.raises(PreflightError, match="'tar'"):
        base_images.resolve(image("/i/web.tar", "tar"), work)


def test_something_else_is_no_base(work: WorkContext) -> None:
    with pytest.raises(ImagefileError) as caught:
        base_images.resolve(3, work)
    assert "Appliance(...)" in caught.value.hint


def test_a_file_is_compared_with_its_checksum_where_there_is_one(tmp_path: Path, work: WorkContext) -> None:
    path = tmp_path / "web.ova"
    with pytest.raises(PreflightError, match="there is no appliance"):
        base_images.appliance(Appliance(str(path)), work)
    path.write_bytes(OVA)
    for sha256 in ("", SHA256):
        assert base_images.appliance(Appliance(str(path), sha256), work) == path
        assert base_images.key(Appliance(str(path), sha256), work) == SHA256
    with pytest.raises(PreflightError, match="not the one that was meant"):
        base_images.appliance(Appliance(str(path), "0" * 64), work)


def test_the_key_of_an_ovf_is_that_of_all_its_files(tmp_path: Path, work: WorkContext) -> None:
    (tmp_path / "web.ovf").write_text(OVF.format(version="2"), encoding="utf-8")
    disk, wanted = tmp_path / "web-disk001.vmdk", Appliance(str(tmp_path / "web.ovf"))
    with pytest.raises(PreflightError, match="not whole"):
        base_images.key(wanted, work)
    disk.write_bytes(b"one")
    first = base_images.key(wanted, work)
    assert base_images.key(wanted, work) == first
    disk.write_bytes(b"two")
    assert base_images.key(wanted, work) != first


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were downloaded from."""
    addresses: list[str] = []

    def fetch(self: Downloader, urls: Sequence[str], checksum: Any, to: Path) -> None:
        del self, checksum
        addresses.extend(urls)
        to.write_bytes(OVA)

    monkeypatch.setattr(Downloader, "fetch", fetch)
    return addresses


def test_an_address_is_downloaded_once_for_all_builds(work: WorkContext, fetched: list[str]) -> None:
    for _ in range(2):
        path = base_images.appliance(Appliance(ADDRESS, SHA256), work)
    assert path.read_bytes() == OVA
    assert path.is_relative_to(work.cache)
    assert fetched == [ADDRESS]
    assert base_images.key(Appliance(ADDRESS, SHA256), work) == SHA256


def test_a_download_that_was_damaged_since_is_downloaded_again(work: WorkContext, fetched: list[str]) -> None:
    path = base_images.appliance(Appliance(ADDRESS, SHA256), work)
    path.chmod(0o644)
    path.write_bytes(b"cut")
    assert base_images.appliance(Appliance(ADDRESS, SHA256), work).read_bytes() == OVA
    assert len(fetched) == 2


def test_nothing_is_downloaded_offline(tmp_path: Path, fetched: list[str]) -> None:
    with pytest.raises(PreflightError, match="not in the cache"):
        base_images.appliance(Appliance(ADDRESS, SHA256), WorkContext(cache=tmp_path, offline=True))
    assert fetched == []


# ---- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that were run; each writes its last word as a file."""
    calls: list[list[str]] = []

    def run(words: Sequence[str | Path], *_: Any, **__: Any) -> bytes:
        calls.append([str(word) for word in words])
        Path(words[-1]).write_bytes(b"disk")
        return b""

    monkeypatch.setattr(tools, "run", run)
    return calls


def start(folder: Path, form: str) -> StartDisk:
    path = folder / f"base.{form}"
    path.write_bytes(b"base")
    return StartDisk(path, form)


def converted(call: list[str]) -> dict[str, Any]:
    source: dict[str, Any] = json.loads(call[-2].removeprefix("json:"))
    return source


def test_a_copy_is_a_vdi_that_only_its_owner_can_read(tmp_path: Path, work: WorkContext, ran: list[list[str]]) -> None:
    disks.write_vdi(start(tmp_path, "qcow2"), tmp_path / "disk.vdi", size=0, work=work)
    ((*words, _, target),) = ran
    assert words[:4] == ["qemu-img", "convert", "-O", "vdi"]
    assert target == str(tmp_path / "disk.vdi")
    assert converted(ran[0])["driver"] == "qcow2"
    assert (tmp_path / "disk.vdi").stat().st_mode & 0o777 == 0o600


def test_a_disk_of_another_hypervisor_is_read_as_what_it_is(
    tmp_path: Path, work: WorkContext, ran: list[list[str]]
) -> None:
    disks.write_vdi(start(tmp_path, "vhd"), tmp_path / "disk.vdi", size=0, work=work)
    assert converted(ran[0])["driver"] == "vpc"


def test_a_base_that_went_meanwhile_is_said(tmp_path: Path, work: WorkContext, ran: list[list[str]]) -> None:
    with pytest.raises(DriverError, match="is gone"):
        disks.write_vdi(StartDisk(tmp_path / "no.raw", "raw"), tmp_path / "disk.vdi", size=0, work=work)
    assert ran == []


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every disk is 1 GiB large."""

    def info(path: Path, *_: Any) -> qemuimg.Info:
        del path
        return qemuimg.Info(format="raw", virtual=1 << 30, actual=0, backing=None)

    monkeypatch.setattr(qemuimg, "info", info)


@pytest.mark.usefixtures("virtual")
def test_a_larger_disk_has_a_layer_for_the_copy_that_does_not_stay(
    tmp_path: Path, work: WorkContext, ran: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def overlay(path: Path, *, size: int, **_: Any) -> None:
        made.append(size)
        path.write_bytes(b"layer")

    monkeypatch.setattr(qemuimg, "overlay", overlay)
    disks.write_vdi(start(tmp_path, "raw"), tmp_path / "disk.vdi", size=4 << 30, work=work)
    assert made == [4 << 30]
    assert converted(ran[0])["file"]["filename"] == str(tmp_path / "disk.size.qcow2")
    assert not (tmp_path / "disk.size.qcow2").exists()


@pytest.mark.usefixtures("virtual")
def test_a_disk_cannot_be_made_smaller(tmp_path: Path, work: WorkContext, ran: list[list[str]]) -> None:
    with pytest.raises(DriverError, match="512 MiB, its base 1024 MiB"):
        disks.write_vdi(start(tmp_path, "raw"), tmp_path / "disk.vdi", size=512 << 20, work=work)
    assert ran == []


def test_a_disk_of_another_hypervisor_keeps_its_size(tmp_path: Path, work: WorkContext, ran: list[list[str]]) -> None:
    with pytest.raises(DriverError, match="format vmdk"):
        disks.write_vdi(start(tmp_path, "vmdk"), tmp_path / "disk.vdi", size=4 << 30, work=work)
    assert ran == []


# ---- the port -------------------------------------------------------------------------------------------------------


def test_a_port_is_one_that_nobody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free = ports.free_port()
        assert ports.FIRST <= free <= ports.LAST
        turns = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(random, "randint", lambda *_: next(turns))
        assert ports.free_port() == free


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(random, "randint", lambda *_: taken.getsockname()[1])
        with pytest.raises(DriverError, match="no port of"):
            ports.free_port()
