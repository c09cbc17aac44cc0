"""A machine of the user's is cloned only where it is clear which one, from where, and that it stands still."""

from __future__ import annotations

from pathlib import Path

from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.machine import registered
from bakery.drivers.virtualbox.options import RegisteredMachine
from tests.unit.drivers.virtualbox.box import TableBox, info

U1, U2 = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2))


def problems(base: RegisteredMachine, vms: str, **shown: str) -> list[str]:
    reply = info("golden", **shown) if shown else VirtualBoxError("no", code="VBOX_E_OBJECT_NOT_FOUND")
    box = TableBox(replies={"list vms": [vms], "showvminfo": [reply]})
    return [f"{problem.what}: {problem.why}{problem.hint}" for problem in registered.problems(box, base)]


def test_a_machine_that_is_off_can_be_copied_and_a_snapshot_of_any_be_cloned() -> None:
    vms = f'"golden" {{{U1}}}\n'
    assert problems(RegisteredMachine("golden"), vms, state="poweroff") == []
    assert problems(RegisteredMachine("golden", "clean"), vms, state="running", SnapshotName="clean") == []


def test_two_machines_of_one_name_are_no_choice() -> None:
    (problem,) = problems(RegisteredMachine("golden"), f'"golden" {{{U1}}}\n"golden" {{{U2}}}\n', state="poweroff")
    assert U1 in problem
    assert "by UUID" in problem


def test_none_of_that_name_says_which_there_are() -> None:
    assert problems(RegisteredMachine("silver"), f'"golden" {{{U1}}}\n') == [
        "VirtualBox has no machine 'silver': it has: golden"
    ]


def test_a_machine_that_runs_cannot_be_copied() -> None:
    (problem,) = problems(RegisteredMachine("golden"), f'"golden" {{{U1}}}\n', state="saved")
    assert "golden' is saved" in problem


def test_a_machine_whose_settings_are_not_there_says_where_they_should_be() -> None:
    listed = f"Name:            <inaccessible!>\nUUID:            {U1}\nConfig file:     /usb/golden/golden.vbox\n"
    limited = VirtualBoxError("no", code="E_ACCESSDENIED")
    box = TableBox(replies={"list vms": [""], "list --long": [listed], "showvminfo": [limited]})
    (problem,) = registered.problems(box, RegisteredMachine(U1, "clean"))
    assert "cannot read" in problem.what
    assert problem.why == "/usb/golden/golden.vbox"


def test_a_snapshot_that_is_not_there_says_which_are() -> None:
    (problem,) = problems(
        RegisteredMachine("golden", "dirty"), f'"golden" {{{U1}}}\n', state="poweroff", SnapshotName="clean"
    )
    assert problem.endswith("it has: clean")


def test_ours_is_told_from_another_of_the_same_name_by_its_folder() -> None:
    theirs, ours = info("web", config="/home/me/web/web.vbox"), info("web", config="/m/1/virtualbox/web/web.vbox")
    box = TableBox(replies={"list vms": [f'"web" {{{U1}}}\n"web" {{{U2}}}\n'], "showvminfo": [theirs, theirs, ours]})
    machine = registered.in_folder(box, ["web"], Path("/m/1/virtualbox"))
    assert machine is not None
    assert machine.config == Path("/m/1/virtualbox/web/web.vbox")


def test_a_machine_that_is_only_somebody_elses_is_none_of_ours() -> None:
    box = TableBox(replies={"list vms": [f'"web" {{{U1}}}\n'], "showvminfo": [info("web", config="/home/me/web.vbox")]})
    assert registered.in_folder(box, ["web"], Path("/m/1/virtualbox")) is None
