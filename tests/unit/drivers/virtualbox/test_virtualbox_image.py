"""An image holds nothing of the host that made it, and takes its name over from the one before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakery.drivers.shared.older_files import made, older
from bakery.drivers.virtualbox.api.answers import machine_info
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.image import capture, keep
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError
from bakery.model import Artifact, Handle, Resource
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from tests.unit.drivers.virtualbox.box import TableBox, info


def claim(folder: Path) -> Claim:
    return Claim(
        cache=folder,
        run="r1",
        role="image",
        name="bakery-r1-2",
        folder=folder,
        keys=make_keys("t"),
        tags={},
        images=folder,
        ledger=RecordingLedger(),
        driver="virtualbox",
        build="web@here",
    )


def handle(folder: Path) -> Handle:
    resource = Resource(driver="virtualbox", kind="machine", key="bakery-r1-1")
    settings = VirtualBox(base=None).settings()
    return Handle(
        driver="virtualbox", id="bakery-r1-1", resource=resource, folder=folder, settings=settings, data={"uuid": "u-1"}
    )


def test_what_was_there_for_the_build_is_taken_out_and_what_was_there_before_is_not(tmp_path: Path) -> None:
    seed = tmp_path / "virtualbox" / "seed.iso"
    said = info(
        **{
            "storagecontrollername0": "IDE",
            "storagecontrollername1": "bakery-drives",
            "IDE-0-0": str(tmp_path / "virtualbox" / "disk.vdi"),
            "IDE-0-1": "/home/me/tools.iso",
            "IDE-1-0": str(seed),
            "Forwarding(0)": "theirs,tcp,,8080,,80",
            "Forwarding(1)": "bakery-ssh,tcp,127.0.0.1,20001,,22",
        }
    )
    box = TableBox(
        replies={
            "showvminfo": [said],
            "getextradata": ["Key: bakery:run, Value: r1\nKey: mine, Value: 1\nKey: GUI/x, Value: 2\n"],
        }
    )
    capture.clean(box, "u-1", tmp_path / "virtualbox", VirtualBox(base=None, extra_data={"mine": "1"}))
    changes = [call for call in box.asked if call[0] not in ("showvminfo", "getextradata", "guestproperty")]
    assert changes == [
        ("storageattach", "u-1", "--storagectl=IDE", "--port=1", "--device=0", "--medium=none"),
        ("storagectl", "u-1", "--name", "bakery-drives", "--remove"),
        (
            "modifyvm",
            "u-1",
            "--nat-pf1",
            "delete",
            "bakery-ssh",
            "--nat-localhostreachable1=off",
            "--uart-mode1",
            "disconnected",
            "--uart1",
            "off",
        ),
        ("setextradata", "u-1", "bakery:run"),
        ("setextradata", "u-1", "mine"),
    ]


FIRMWARE = """\
Key: VBoxInternal/Devices/efi/0/Config/DmiOEMVBoxVer, Value: io.systemd.credential:system.hostname=web
Key: VBoxInternal/Devices/efi/0/Config/DmiOEMVBoxRev, Value: theirs
"""


@pytest.mark.parametrize(("given", "taken"), [({"system.hostname": "web"}, ["DmiOEMVBoxVer"]), ({}, [])])
def test_credentials_of_this_build_do_not_go_into_the_image_and_an_appliances_own_strings_do(
    tmp_path: Path, given: dict[str, str], taken: list[str]
) -> None:
    box = TableBox(replies={"showvminfo": [info(firmware="EFI")], "getextradata": [FIRMWARE]})
    capture.clean(box, "u-1", tmp_path, VirtualBox(base=None, credentials=given))
    removed = [call[2].rpartition("/")[2] for call in box.asked if call[0] == "setextradata"]
    assert removed == taken


PROPERTIES = """\
/Example/role                = 'web'        @ 2026-11-29T03:40:46.863Z
/Theirs/note                 = 'keep'       @ 2026-11-29T03:40:46.863Z
/VirtualBox/GuestAdd/Version = '7.2.22'     @ 2026-11-29T03:40:46.863Z
/VirtualBox/GuestInfo/Net/0/V4/IP = '10.0.2.15' @ 2026-11-29T03:40:46.863Z TRANSIENT
"""


def test_guest_properties_of_this_build_do_not_go_into_the_image(tmp_path: Path) -> None:
    box = TableBox(replies={"showvminfo": [info()], "guestproperty enumerate": [PROPERTIES]})
    capture.clean(box, "u-1", tmp_path, VirtualBox(base=None, guest_properties={"/Example/role": "web"}))
    deleted = [call[3] for call in box.asked if call[:2] == ("guestproperty", "delete")]
    assert deleted == ["/Example/role", "/VirtualBox/GuestInfo/Net/0/V4/IP"]


@pytest.mark.parametrize(("attached", "taken"), [("attach", True), ("none", False)])
def test_guest_additions_leave_the_drive_only_where_we_put_them(tmp_path: Path, attached: str, taken: bool) -> None:
    shown = info(storagecontrollername0="IDE", **{"IDE-1-0": "/usr/share/virtualbox/VBoxGuestAdditions.iso"})
    box = TableBox(replies={"showvminfo": [shown]})
    capture.clean(box, "u-1", tmp_path, VirtualBox.from_settings({"guest_additions": attached}))
    assert ("storageattach" in box.verbs()) == taken


def test_an_appliance_has_a_manifest_and_no_mac_address_unless_it_is_to_keep_it() -> None:
    words = capture.export_words(VirtualBox(base=None, product={"vendor": "Example"}), "web")
    assert {"--options=manifest,nomacs", "--vmname=web", "--vendor=Example"} <= set(words)
    assert "--options=manifest" in capture.export_words(VirtualBox(base=None, macs=True), "web")


def test_a_single_disk_is_made_of_a_single_disk() -> None:
    one = {"d-0-0": "/a.vdi", "d-ImageUUID-0-0": "u-a", "d-1-0": "/x.iso", "d-ImageUUID-1-0": "u-x"}
    assert capture.disk_of(machine_info(info(**one))) == "u-a"
    with pytest.raises(DriverError, match="2 disks"):
        capture.disk_of(machine_info(info(**one, **{"d-2-0": "/b.vdi", "d-ImageUUID-2-0": "u-b"})))


def test_a_disk_that_is_written_leaves_the_registry(tmp_path: Path) -> None:
    def write(call: tuple[str, ...]) -> str:
        Path(call[3]).write_bytes(b"disk")
        return ""

    box = TableBox(
        replies={
            "showvminfo": [info(**{"d-0-0": "/a.vdi", "d-ImageUUID-0-0": "u-a"})],
            "clonemedium": [write],
        }
    )
    artifact = capture.write_image(box, "u-1", VirtualBox(base=None, format="vmdk"), "web", claim(tmp_path))
    assert (artifact.driver, artifact.format, artifact.size) == ("virtualbox", "vmdk", 4)
    cloned, closed = box.asked[1:]
    assert cloned[-2:] == ("--format=VMDK", "--variant=Stream")
    assert closed == ("closemedium", "disk", artifact.id)
    assert artifact.path.stat().st_mode & 0o777 == 0o644


def image(folder: Path, content: bytes, count: int) -> Artifact:
    path = folder / ".web.1.ova"
    path.write_bytes(content)
    settings = VirtualBox(base=None, keep=count).settings()
    return Artifact(driver="virtualbox", id=str(path), name="web", format="ova", settings=settings)


def test_the_old_image_goes_when_the_new_one_stands(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        kept = keep.keep(image(tmp_path, content, 0), "web", claim(tmp_path))
    assert kept.path.read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["web.ova"]


def test_as_many_older_images_stay_as_are_asked_for(tmp_path: Path) -> None:
    for number in range(4):
        keep.keep(image(tmp_path, f"{number}".encode(), 2), "web", claim(tmp_path))
        os.utime(tmp_path / "web.ova", (number * 1000, number * 1000))
    assert (tmp_path / "web.ova").read_bytes() == b"3"
    assert [path.read_bytes() for path in older(tmp_path / "web.ova")] == [b"2", b"1"]
    assert older(tmp_path / "web.ova")[0].name == "web@19700101T003320Z.ova"
    assert made(older(tmp_path / "web.ova")[0]) == "1970-01-01T00:33:20+00:00"


def test_an_image_of_a_similar_name_is_none_of_ours(tmp_path: Path) -> None:
    for name in ("web@mine.ova", "web-2@19700101T000000Z.ova", "web@19700101T000000Z.vdi"):
        (tmp_path / name).touch()
    assert older(tmp_path / "web.ova") == []


def exporting(call: tuple[str, ...]) -> str:
    Path(call[2].removeprefix("--output=")).write_bytes(b"ova")
    return ""


def test_an_appliance_is_exported_from_a_clone_with_the_images_name_that_is_gone_afterwards(tmp_path: Path) -> None:
    box = TableBox(
        replies={"showvminfo": [info(config=str(tmp_path / "virtualbox" / "web" / "web.vbox"))], "export": [exporting]}
    )
    capture.capture(box, handle(tmp_path / "m"), "web", claim(tmp_path))
    assert ("snapshot", "u-1", "take", "bakery-image") in box.asked
    (clone,) = [call for call in box.asked if call[0] == "clonevm"]
    assert {"--name=web", "--options=link", "--snapshot=bakery-image"} <= set(clone)
    uuid = clone[3].removeprefix("--uuid=")
    (export,) = [call for call in box.asked if call[0] == "export"]
    assert export[1] == uuid
    assert box.verbs().index("unregistervm") > box.verbs().index("export")
    assert not (tmp_path / "virtualbox").exists()


def test_a_failed_export_takes_its_clone_with_it_and_is_what_is_told(tmp_path: Path) -> None:
    box = TableBox(
        replies={
            "showvminfo": [info(config=str(tmp_path / "virtualbox" / "web" / "web.vbox"))],
            "export": [VirtualBoxError("the disk is full")],
            "unregistervm": [VirtualBoxError("and more")],
        }
    )
    with pytest.raises(VirtualBoxError, match="the disk is full"):
        capture.capture(box, handle(tmp_path / "m"), "web", claim(tmp_path))
    assert "unregistervm" in box.verbs()
