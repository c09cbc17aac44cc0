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
from bakery.drivers.virtualbox.machine import base_images, disks, ports
from bakery.drivers.virtualbox.machine.base_images import StartAppliance, StartDisk
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.errors import DriverError, ImagefileError, PreflightError
from bakery.model import Artifact
from bakery.util import tools
from bakery.util.context import WorkContext

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
