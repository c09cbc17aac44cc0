"""A machine is written down, made, connected to this host, marked, and started, in that order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.machine import launch
from bakery.drivers.virtualbox.machine.base_images import Start, StartAppliance, StartDisk
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError, PreflightError
from bakery.model import Handle
from bakery.state.claim import Claim
from bakery.state.ssh_keys import proof_of
from bakery.testing.contract import RecordingLedger, Stop
from bakery.util import tools
from tests.unit.drivers.virtualbox.box import Reply, TableBox, info
from tests.unit.drivers.virtualbox.test_virtualbox_image import claim

UUID = "10000000-0000-4000-8000-000000000000"
IDE = {"storagecontrollername0": "disk", "storagecontrollertype0": "PIIX4", "storagecontrollerportcount0": "2"}
SATA = {"storagecontrollername0": "disk", "storagecontrollertype0": "IntelAhci", "storagecontrollerportcount0": "1"}
NVME = {"storagecontrollername0": "disk", "storagecontrollertype0": "NVMe"}
TAGS = {"bakery:run": "r1", "bakery:build": "web@here"}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartDisk:
    """A disk to start from, whose copy is made at once."""

    def run(words: Sequence[str | Path], *_: Any, **__: Any) -> bytes:
        Path(words[-1]).write_bytes(b"vdi")
        return b""

    monkeypatch.setattr(tools, "run", run)
    (tmp_path / "base.raw").write_bytes(b"raw")
    return StartDisk(tmp_path / "base.raw", "raw")


def under(folder: Path) -> Claim:
    return replace(claim(folder), tags=TAGS)


def shown(folder: Path, **hardware: str) -> str:
    """What VirtualBox says of a machine in the claim's folder."""
    config = folder / "virtualbox" / "bakery-r1-2" / "bakery-r1-2.vbox"
    return info("bakery-r1-2", config=str(config), **(hardware or IDE))


def launched(
    folder: Path, base: Start, hardware: dict[str, str] | None = None, **options: Any
) -> tuple[TableBox, Handle, Claim]:
    """Launch a machine of that base, and return what was asked, the machine, and its claim."""
    box = TableBox(
        replies={
            "showvminfo": [shown(folder, **(hardware or IDE))],
            "--version": ["7.2.22_Debianr175245\n"],
            "list systemproperties": [
                "Default Guest Additions ISO:     /usr/share/virtualbox/VBoxGuestAdditions.iso\n"
            ],
            **options.pop("replies", {}),
        }
    )
    mine = replace(under(folder), role=options.pop("role", "build"))
    job = launch.LaunchJob(box=box, source=VirtualBox.from_settings(options), base=base, claim=mine)
    return box, launch.launch(job), mine


def calls(box: TableBox, verb: str) -> list[tuple[str, ...]]:
    return [call for call in box.asked if call[0] == verb]


def test_a_disk_becomes_a_machine_that_is_started_last(tmp_path: Path, disk: StartDisk) -> None:
    box, handle, mine = launched(tmp_path, disk, controller="ide")
    changes = [verb for verb in box.verbs() if verb not in ("showvminfo", "--version")]
    assert changes == [
        "createvm",
        "modifyvm",
        "storagectl",
        "storageattach",
        "modifyvm",
        *["setextradata"] * 3,
        "storageattach",
        "startvm",
    ]
    (create,) = calls(box, "createvm")
    assert {"--name=bakery-r1-2", f"--basefolder={tmp_path / 'virtualbox'}", "--register"} <= set(create)
    assert calls(box, "startvm") == [("startvm", "u-1", "--type=headless")]
    marks = {**TAGS, "bakery:folder": str(tmp_path)}
    assert [call[2:] for call in calls(box, "setextradata")] == list(marks.items())
    assert handle.data["uuid"] == "u-1"
    assert handle.data["disk"] == str(tmp_path / "virtualbox" / "disk.vdi")
    assert handle.data["host_public"] == mine.keys.host_public


@pytest.mark.parametrize(("firmware", "device"), [("BIOS", "pcbios"), ("EFI", "efi")])
def test_credentials_go_into_the_firmware_of_the_machine_as_it_is(
    tmp_path: Path, disk: StartDisk, firmware: str, device: str
) -> None:
    hardware = {**IDE, "firmware": firmware}
    box, _, _ = launched(tmp_path, disk, hardware, credentials={"system.hostname": "web"})
    given = calls(box, "setextradata")[-1]
    assert given[2:] == (
        f"VBoxInternal/Devices/{device}/0/Config/DmiOEMVBoxVer",
        "io.systemd.credential:system.hostname=web",
    )


def test_the_port_that_the_handle_names_is_the_one_that_leads_to_the_guest(tmp_path: Path, disk: StartDisk) -> None:
    box, handle, _ = launched(tmp_path, disk)
    assert f"--nat-pf1=bakery-ssh,tcp,127.0.0.1,{handle.data['port']},,22" in calls(box, "modifyvm")[-1]
    assert (tmp_path / "serial.log").stat().st_mode & 0o777 == 0o600


def test_the_machine_is_written_down_with_its_uuid_before_virtualbox_hears_of_it(
    tmp_path: Path, disk: StartDisk
) -> None:
    ledger = RecordingLedger(stop_at=2)
    box = TableBox()
    job = launch.LaunchJob(
        box=box, source=VirtualBox(base=None), base=disk, claim=replace(under(tmp_path), ledger=ledger)
    )
    with pytest.raises(Stop):
        launch.launch(job)
    assert box.asked == []
    (resource,) = ledger.resources.values()
    assert (resource.kind, resource.key, resource.data["folder"]) == ("machine", "bakery-r1-2", str(tmp_path))
    assert len(resource.data["uuid"]) == 36


def test_a_note_beside_the_machine_says_whose_it_is(tmp_path: Path, disk: StartDisk) -> None:
    launched(tmp_path, disk)
    noted = json.loads((tmp_path / "machine.json").read_text(encoding="utf-8"))
    assert (noted["run"], noted["build"]) == ("r1", "web@here")
    assert (tmp_path / "virtualbox").stat().st_mode & 0o777 == 0o700


def test_a_seed_that_only_its_owner_can_read_is_in_a_drive(tmp_path: Path, disk: StartDisk) -> None:
    box, _, _ = launched(tmp_path, disk)
    seed = tmp_path / "virtualbox" / "seed.iso"
    assert calls(box, "storageattach")[-1][-1] == f"--medium={seed}"
    assert seed.stat().st_mode & 0o077 == 0
    assert b"cloud-config" in seed.read_bytes()


def test_what_virtualbox_logged_of_a_machine_that_does_not_start_is_said(tmp_path: Path, disk: StartDisk) -> None:
    (tmp_path / "VBox.log").write_text("00:00:01 VMSetError: no room\n")
    refused = VirtualBoxError("VirtualBox did not start the machine", why="terminated unexpectedly")
    with pytest.raises(VirtualBoxError) as caught:
        launched(tmp_path, disk, {**IDE, "LogFldr": str(tmp_path)}, replies={"startvm": [refused]})
    assert caught.value.why == "terminated unexpectedly\nVirtualBox logged:\n  00:00:01 VMSetError: no room"


@pytest.mark.parametrize(("host_key", "held"), [("given", 1), ("console", 0)])
def test_the_host_key_is_on_the_seed_once_where_it_is_given(
    tmp_path: Path, disk: StartDisk, host_key: str, held: int
) -> None:
    _, _, mine = launched(tmp_path, disk, host_key=host_key)
    seed = (tmp_path / "virtualbox" / "seed.iso").read_bytes()
    assert seed.count(mine.keys.host_private.splitlines()[1].encode()) == held


def test_a_machine_that_is_only_tested_is_given_a_proof_and_no_host_key(tmp_path: Path, disk: StartDisk) -> None:
    _, handle, mine = launched(tmp_path, disk, role="smoke")
    seed = (tmp_path / "virtualbox" / "seed.iso").read_bytes()
    assert proof_of(mine.keys.user_private).encode() in seed
    assert mine.keys.host_private.splitlines()[2].encode() not in seed
    assert handle.data["host_public"] == ""


def test_user_data_of_the_users_own_go_into_the_seed_as_they_stand(tmp_path: Path, disk: StartDisk) -> None:
    launched(tmp_path, disk, user_data="#!/bin/sh\necho mine-7c1\n")
    seed = (tmp_path / "virtualbox" / "seed.iso").read_bytes()
    assert b"echo mine-7c1" in seed
    assert b"cloud-config" not in seed


def test_a_host_key_that_the_guest_makes_is_not_known_yet(tmp_path: Path, disk: StartDisk) -> None:
    assert launched(tmp_path, disk, host_key="console")[1].data["host_public"] == ""


def test_a_controller_without_room_gets_a_port_more(tmp_path: Path, disk: StartDisk) -> None:
    box, _, _ = launched(tmp_path, disk, {**SATA, "disk-0-0": "/m/disk.vdi"})
    assert calls(box, "storagectl")[-1] == ("storagectl", "u-1", "--name", "disk", "--portcount", "2")
    assert "--port=1" in calls(box, "storageattach")[-1]


def test_a_machine_whose_controllers_take_no_drive_gets_one_that_does(tmp_path: Path, disk: StartDisk) -> None:
    both = {**NVME, "storagecontrollername1": "bakery-drives", "storagecontrollertype1": "PIIX4"}
    replies: dict[str, list[Reply]] = {
        "showvminfo": [shown(tmp_path, **NVME), shown(tmp_path, **NVME), shown(tmp_path, **both)]
    }
    box, _, _ = launched(tmp_path, disk, replies=replies, controller="nvme")
    assert calls(box, "storagectl")[-1][2:5] == ("--name", "bakery-drives", "--add=ide")
    assert "--storagectl=bakery-drives" in calls(box, "storageattach")[-1]


def test_no_room_for_a_drive_is_said(tmp_path: Path, disk: StartDisk) -> None:
    with pytest.raises(DriverError, match="no room for a CD drive"):
        launched(tmp_path, disk, NVME)


def test_the_guest_additions_are_in_a_second_drive_under_their_own_name(tmp_path: Path, disk: StartDisk) -> None:
    box, _, _ = launched(tmp_path, disk, guest_additions="attach")
    assert calls(box, "storageattach")[-1][-1] == "--medium=/usr/share/virtualbox/VBoxGuestAdditions.iso"


def test_guest_additions_that_are_not_there_are_no_file_of_the_current_folder(tmp_path: Path, disk: StartDisk) -> None:
    none: dict[str, list[Reply]] = {"list systemproperties": ["Default Guest Additions ISO:     \n"]}
    with pytest.raises(PreflightError, match="no guest additions") as caught:
        launched(tmp_path, disk, replies=none, guest_additions="attach")
    assert "virtualbox-guest-additions-iso" in caught.value.hint


def test_guest_properties_and_extra_data_are_set_before_the_start(tmp_path: Path, disk: StartDisk) -> None:
    box, _, _ = launched(tmp_path, disk, guest_properties={"/Example/role": "web"}, extra_data={"mine": "1"})
    assert calls(box, "guestproperty") == [("guestproperty", "set", "u-1", "/Example/role", "web")]
    assert ("setextradata", "u-1", "mine", "1") in box.asked
    assert box.verbs().index("guestproperty") < box.verbs().index("startvm")


def test_secure_boot_is_set_up_before_the_disk_is_attached(tmp_path: Path, disk: StartDisk) -> None:
    box, _, _ = launched(tmp_path, disk, firmware="efi-secure")
    assert [call[2] for call in calls(box, "modifynvram")] == [
        "inituefivarstore",
        "enrollmssignatures",
        "enrollorclpk",
        "secureboot",
    ]
    assert box.verbs().index("modifynvram") < box.verbs().index("storageattach")


def test_an_appliance_is_imported_and_gets_its_uuid_from_virtualbox(tmp_path: Path) -> None:
    box, handle, mine = launched(tmp_path, StartAppliance(Path("/a/web.ova")))
    (imported,) = calls(box, "import")
    assert imported[1] == "/a/web.ova"
    assert {"--vmname=bakery-r1-2", f"--basefolder={tmp_path / 'virtualbox'}", "--options=importtovdi"} <= set(imported)
    assert calls(box, "createvm") == []
    assert (handle.resource.data["uuid"], handle.data["disk"]) == ("u-1", "")
    assert isinstance(mine.ledger, RecordingLedger)
    assert [resource.data["uuid"] for resource in mine.ledger.resources.values()] == ["u-1"]


GOLDEN = f'"golden" {{{UUID}}}\n'


def test_a_snapshot_is_cloned_as_a_linked_one_and_a_machine_as_a_whole_one(tmp_path: Path) -> None:
    for number, (snapshot, words) in enumerate((("clean", {"--options=link", "--snapshot=clean"}), ("", set()))):
        folder = tmp_path / str(number)
        folder.mkdir()
        replies: dict[str, list[Reply]] = {
            "list vms": [GOLDEN],
            "showvminfo": [info("golden", SnapshotName="clean"), shown(folder)],
        }
        box, handle, _ = launched(folder, RegisteredMachine("golden", snapshot), replies=replies)
        (clone,) = calls(box, "clonevm")
        assert {word for word in clone if word.startswith(("--options", "--snapshot"))} == words
        assert {"--mode=machine", "--register", f"--basefolder={folder / 'virtualbox'}"} <= set(clone)
        assert handle.data["disk"] == ""


def test_a_snapshot_that_went_since_the_check_is_said(tmp_path: Path) -> None:
    replies: dict[str, list[Reply]] = {"list vms": [GOLDEN], "showvminfo": [info("golden", SnapshotName="clean")]}
    with pytest.raises(PreflightError, match="no snapshot 'dirty'"):
        launched(tmp_path, RegisteredMachine("golden", "dirty"), replies=replies)


def test_a_machine_that_is_not_registered_although_it_was_made_is_said(tmp_path: Path, disk: StartDisk) -> None:
    elsewhere: dict[str, list[Reply]] = {"showvminfo": [info(config="/home/me/x/x.vbox")]}
    with pytest.raises(DriverError, match="not registered"):
        launched(tmp_path, disk, replies=elsewhere)


@pytest.mark.parametrize("verb", ["createvm", "modifyvm", "storagectl", "storageattach", "setextradata", "startvm"])
def test_whatever_virtualbox_refuses_the_journal_knows_the_machine(
    tmp_path: Path, disk: StartDisk, verb: str, refuse: Callable[[str], Reply]
) -> None:
    box = TableBox(replies={"showvminfo": [shown(tmp_path)], "--version": ["7.2.22\n"], verb: [refuse(verb)]})
    mine = under(tmp_path)
    with pytest.raises(DriverError, match=verb):
        launch.launch(launch.LaunchJob(box=box, source=VirtualBox(base=None), base=disk, claim=mine))
    assert isinstance(mine.ledger, RecordingLedger)
    assert len(mine.ledger.resources) == 1
    assert box.verbs()[-1] == verb


@pytest.fixture
def refuse() -> Callable[[str], Reply]:
    """Make a refusal that names its verb."""
    return lambda verb: DriverError(f"VirtualBox refused {verb}")
