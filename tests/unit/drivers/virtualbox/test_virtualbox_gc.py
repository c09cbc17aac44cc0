"""What is destroyed is ours and all of it; what is found is known by its marks."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bakery.drivers.virtualbox import destroy, find
from bakery.drivers.virtualbox.api.errors import MachineLockedError, VirtualBoxError
from bakery.model import Resource, Where
from tests.unit.drivers.virtualbox.box import Reply, TableBox, info

GONE = VirtualBoxError("no", code="VBOX_E_OBJECT_NOT_FOUND")
U1, U2, U3 = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))


def machine(folder: Path) -> Resource:
    return Resource(driver="virtualbox", kind="machine", key="bakery-r1-1", run="r1", data={"folder": str(folder)})


def medium(uuid: str, location: Path, parent: str = "base") -> str:
    return f"UUID:           {uuid}\nParent UUID:    {parent}\nState:          created\nLocation:       {location}\n\n"


def test_a_machine_goes_with_its_media_and_its_folder_and_its_logs_stay(tmp_path: Path) -> None:
    (tmp_path / "virtualbox" / "x").mkdir(parents=True)
    (tmp_path / "serial.log").write_text("login:")
    config = tmp_path / "virtualbox" / "x" / "x.vbox"
    box = TableBox(
        replies={
            "showvminfo": [info(state="running", config=str(config)), info(state="poweroff", config=str(config))],
            "list hdds": [
                medium(U1, tmp_path / "virtualbox" / "a.vdi")
                + medium(U2, tmp_path / "other.vdi")
                + medium(U3, tmp_path / "virtualbox" / "b.vdi", parent=U1)
            ],
        }
    )
    destroy.destroy(box, machine(tmp_path))
    changes = [call for call in box.asked if call[0] in ("controlvm", "unregistervm", "closemedium")]
    assert changes == [
        ("controlvm", "u-1", "poweroff"),
        ("unregistervm", "u-1", "--delete"),
        ("closemedium", "disk", U3),
        ("closemedium", "disk", U1),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["serial.log"]


def test_a_machine_of_that_name_that_is_somebody_elses_stays(tmp_path: Path) -> None:
    box = TableBox(replies={"showvminfo": [info(config="/home/me/VirtualBox VMs/x/x.vbox")]})
    destroy.destroy(box, machine(tmp_path))
    assert box.verbs() == ["showvminfo", "list"]


def test_what_never_was_is_gone(tmp_path: Path) -> None:
    box = TableBox(replies={"showvminfo": [GONE]})
    destroy.destroy(box, machine(tmp_path / "never"))
    assert box.verbs() == ["showvminfo"]


def test_an_image_that_was_not_kept_leaves_the_registry_too(tmp_path: Path) -> None:
    image = tmp_path / ".web.1.vdi"
    image.touch()
    box = TableBox(replies={"list hdds": [medium(U1, image)]})
    destroy.destroy(box, Resource(driver="virtualbox", kind="file", key=str(image)))
    assert ("closemedium", "disk", U1) in box.asked
    assert not image.exists()


def test_a_medium_that_is_in_use_is_said(tmp_path: Path) -> None:
    box = TableBox(
        replies={
            "list hdds": [medium(U1, tmp_path / "a.vdi")],
            "closemedium": [VirtualBoxError("no", code="VBOX_E_OBJECT_IN_USE", why="still attached")],
        }
    )
    with pytest.raises(VirtualBoxError, match="no"):
        destroy.close_media(box, tmp_path)


def test_a_machine_that_was_unregistered_although_its_disk_was_locked_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "virtualbox" / "x"
    folder.mkdir(parents=True)
    box = TableBox(
        replies={
            "showvminfo": [info(config=str(folder / "x.vbox"))],
            "unregistervm": [MachineLockedError("no", why="locked for reading"), GONE],
            "list hdds": [medium(U1, folder / "a.vdi")],
            "closemedium": [MachineLockedError("no", why="locked for reading"), ""],
        }
    )
    destroy.destroy(box, machine(tmp_path))
    assert box.verbs().count("unregistervm") == 2
    assert box.verbs().count("closemedium") == 2
    assert not folder.exists()


ADDITIONS = "/usr/share/virtualbox/VBoxGuestAdditions.iso"


@pytest.mark.parametrize("answer", ["", VirtualBoxError("no", code="VBOX_E_OBJECT_IN_USE", why="attached to 1")])
def test_guest_additions_leave_the_registry_unless_another_machine_has_them(tmp_path: Path, answer: Reply) -> None:
    config = tmp_path / "virtualbox" / "x" / "x.vbox"
    theirs = {"storagecontrollername0": "IDE", "IDE-0-1": ADDITIONS, "IDE-1-0": "/home/me/tools.iso"}
    box = TableBox(replies={"showvminfo": [info(config=str(config), **theirs)], "closemedium": [answer]})
    destroy.destroy(box, machine(tmp_path))
    assert [call for call in box.asked if call[0] == "closemedium"] == [("closemedium", "dvd", ADDITIONS)]
    assert box.verbs().index("closemedium") > box.verbs().index("unregistervm")


def test_a_medium_that_went_meanwhile_is_no_error(tmp_path: Path) -> None:
    box = TableBox(replies={"list hdds": [medium(U1, tmp_path / "a.vdi")], "closemedium": [GONE]})
    destroy.close_media(box, tmp_path)


def vms(*names: str) -> str:
    return "".join(f'"{name}" {{{U1}}}\n' for name in names)


def found(box: TableBox, **where: object) -> list[str]:
    return [resource.run for resource in find.find(box, Where(**where))]  # type: ignore[arg-type]


def test_a_machine_is_known_by_the_note_beside_it(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(json.dumps({"run": "r1", "build": "web", "began": time.time() - 100}))
    config = tmp_path / "virtualbox" / "bakery-r1-1" / "bakery-r1-1.vbox"
    box = TableBox(replies={"list vms": [vms("bakery-r1-1")], "showvminfo": [info(config=str(config))]})
    assert found(box) == ["r1"]
    assert found(box, run="r2") == []
    assert found(box, older_than=50) == ["r1"]
    assert found(box, older_than=500) == []
    (resource,) = find.find(box, Where(run="r1"))
    assert (resource.build, resource.data["folder"]) == ("web", str(tmp_path))


MARKS = "Key: bakery:run, Value: r7\nKey: bakery:build, Value: web@here\nKey: bakery:folder, Value: /m/1\n"


def marked(config: str) -> TableBox:
    shown = info(config=config, VMStateChangeTime="2026-11-28T22:42:44.728000000")
    return TableBox(replies={"list vms": [vms("bakery-r1-1")], "showvminfo": [shown], "getextradata": [MARKS]})


def test_a_machine_whose_note_is_gone_is_known_by_its_extra_data() -> None:
    assert found(marked("/m/1/virtualbox/x/x.vbox")) == ["r7"]


@pytest.mark.parametrize("config", ["/home/me/virtualbox/x/x.vbox", "/home/me/VirtualBox VMs/x/x.vbox"])
def test_a_users_own_clone_of_a_machine_has_its_marks_and_is_left_alone(config: str) -> None:
    assert found(marked(config)) == []


LIMITED = VirtualBoxError("no", code="E_ACCESSDENIED", why="The object functionality is limited")


def unreadable(config: Path) -> TableBox:
    shown = f"Name:            <inaccessible!>\nUUID:            {U1}\nConfig file:     {config}\nEncryption: off\n"
    replies: dict[str, list[Reply]] = {
        "list vms": [vms("<inaccessible>")],
        "list --long": [f"Name:            web\nUUID:            {U2}\n\n{shown}"],
        "showvminfo": [LIMITED],
    }
    return TableBox(replies=replies)


def test_a_machine_of_somebody_elses_whose_settings_cannot_be_read_is_passed_over() -> None:
    assert found(unreadable(Path("/home/me/usb/web/web.vbox"))) == []
    assert found(unreadable(Path("/home/me/usb/virtualbox/web/web.vbox"))) == []


def test_a_machine_of_ours_whose_folder_somebody_has_deleted_is_forgotten(tmp_path: Path) -> None:
    machine = tmp_path / ".bakery" / "runs" / "r3" / "machines" / "web-1"
    box = unreadable(machine / "virtualbox" / "x" / "x.vbox")
    (resource,) = find.find(box, Where())
    assert (resource.run, resource.key) == ("r3", "x")
    destroy.destroy(box, resource)
    assert [call for call in box.asked if call[0] == "unregistervm"] == [("unregistervm", U1)]


def test_a_machine_that_only_has_such_a_name_is_left_alone() -> None:
    assert found(TableBox(replies={"list vms": [vms("bakery-of-my-own")], "showvminfo": [info()]})) == []


def test_a_machine_that_was_killed_while_it_had_the_images_name_is_known_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(json.dumps({"run": "r1", "build": "web", "began": 0.0}))
    config = tmp_path / "virtualbox" / "web" / "web.vbox"
    box = TableBox(replies={"list vms": [vms("web")], "showvminfo": [info("web", config=str(config))]})
    (resource,) = find.find(box, Where())
    destroy.destroy(box, resource)
    assert ("unregistervm", "u-1", "--delete") in box.asked


def test_a_machine_that_went_meanwhile_is_passed_over() -> None:
    assert found(TableBox(replies={"list vms": [vms("bakery-r1-1")], "showvminfo": [GONE]})) == []


def test_without_virtualbox_there_is_nothing(tmp_path: Path) -> None:
    assert found(TableBox(there=False)) == []
    destroy.close_media(TableBox(there=False), tmp_path)
