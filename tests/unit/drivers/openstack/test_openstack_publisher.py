"""An image that was made here on its way to Glance: as it is, or converted first; and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bakery.disk import qemuimg
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import upload
from bakery.model import Artifact
from bakery.publish import OpenStack
from bakery.state.claim import Claim


class Sent:
    """What was converted, and what was sent."""

    def __init__(self) -> None:
        self.converted: list[tuple[str, str]] = []
        self.disks: list[tuple[Path, str, Mapping[str, str]]] = []
        self.is_zstd = False


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    made = Sent()

    def convert(source: Mapping[str, Any], to: Path, *, format: str, compression: str, **_: object) -> None:  # noqa: A002  as there
        assert source["file"]["filename"]
        to.write_bytes(b"converted")
        made.converted.append((format, compression))

    def send(
        cloud: OpenStackCloud, disk: Path, form: str, claim: Claim, *, timeout: float, properties: Mapping[str, str]
    ) -> Any:
        del cloud, claim, timeout
        made.disks.append((disk, form, properties))
        return "an image of Glance's"

    def finished(cloud: object, source: object, image: object, name: str) -> Artifact:
        del cloud, source
        assert image == "an image of Glance's"
        return Artifact(driver="openstack", id="1", name=name, format="glance")

    monkeypatch.setattr(qemuimg, "convert", convert)
    monkeypatch.setattr(qemuimg, "is_zstd", lambda _: made.is_zstd)
    monkeypatch.setattr(upload, "send", send)
    monkeypatch.setattr("bakery.drivers.openstack.image.capture.finished", finished)
    return made


def publish(claim: Claim, tmp_path: Path, form: str = "qcow2", firmware: str = "", **options: Any) -> Artifact:
    path = tmp_path / "web.img"
    path.write_bytes(b"a disk")
    settings = {"firmware": firmware} if firmware else {}
    image = Artifact(driver="qemu", id=str(path), name="web", format=form, key="i1-key", settings=settings)
    return OpenStack(flavor="tiny", **options).publish(image, "web", claim)


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("form", "is_zstd", "options", "converted"),
    [
        ("qcow2", False, {}, []),
        ("qcow2", True, {}, [("qcow2", "zlib")]),  # not every cloud's QEMU reads zstd
        ("qcow2", True, {"compression": "zstd"}, []),
        ("qcow2", True, {"compression": None}, []),
        ("raw", False, {}, []),
        ("qcow2", False, {"disk_format": "raw"}, [("raw", "zlib")]),
        ("raw", False, {"disk_format": "qcow2", "compression": "zstd"}, [("qcow2", "zstd")]),
        ("raw", False, {"disk_format": "qcow2", "compression": None}, [("qcow2", "zstd")]),
    ],
)
def test_a_disk_is_sent_as_it_is_where_the_cloud_can_read_it(
    sent: Sent, claim: Claim, tmp_path: Path, form: str, is_zstd: bool, options: dict[str, Any], converted: list[Any]
) -> None:
    sent.is_zstd = is_zstd
    publish(claim, tmp_path, form, **options)
    assert sent.converted == converted
    ((disk, told, _),) = sent.disks
    assert told == options.get("disk_format", form)
    assert disk == (claim.folder / f"publish.{told}" if converted else tmp_path / "web.img")


@pytest.mark.usefixtures("cloud")
def test_how_it_boots_goes_with_it_and_the_user_s_word_comes_last(sent: Sent, claim: Claim, tmp_path: Path) -> None:
    publish(claim, tmp_path)
    publish(claim, tmp_path, firmware="uefi", properties={"hw_disk_bus": "scsi"})
    publish(claim, tmp_path, firmware="uefi", properties={"hw_firmware_type": "bios"})
    assert [properties for *_, properties in sent.disks] == [
        {},
        {"hw_firmware_type": "uefi", "hw_disk_bus": "scsi"},
        {"hw_firmware_type": "bios"},
    ]


@pytest.mark.usefixtures("cloud", "sent")
def test_what_is_published_is_the_image_that_was_made(claim: Claim, tmp_path: Path) -> None:
    assert publish(claim, tmp_path).key == "i1-key"
