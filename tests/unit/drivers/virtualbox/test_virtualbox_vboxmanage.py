"""A call of VBoxManage has a deadline, asks again where nothing was begun, and says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.virtualbox.api import vboxmanage
from bakery.drivers.virtualbox.api.errors import ServiceUnreachableError, VirtualBoxError
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.errors import DriverError
from bakery.model import Result
from bakery.util.results import TimedOut
from tests.unit.drivers.virtualbox.recorded import ANSWERS, Answer

UNREACHABLE = Answer(1, "", "VBoxManage: error: Failed to create the VirtualBox object!\n")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run; `answers` below says what came of it."""
    calls: list[list[str]] = []
    monkeypatch.setattr(VBoxManage, "installed", property(lambda _: True))
    monkeypatch.setattr(vboxmanage, "stops_with_us", tuple)
    monkeypatch.setattr(vboxmanage, "REACHED", 1.0)
    return calls


def answering(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]], *answers: Answer | Exception) -> VBoxManage:
    left = list(answers)

    def run(words: list[str], **_: Any) -> Result:
        asked.append(words)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return Result(command="", exited=answer.exit, stdout=answer.stdout, stderr=answer.stderr, seconds=0.0)

    monkeypatch.setattr(vboxmanage, "run_process", run)
    return VBoxManage()


def test_a_service_that_is_just_starting_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    box = answering(monkeypatch, asked, UNREACHABLE, ANSWERS["vms"])
    assert [machine.name for machine in box.machines()] == ["web"]
    assert asked == [["VBoxManage", "list", "vms"]] * 2


def test_a_service_that_never_starts_is_said_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    with pytest.raises(ServiceUnreachableError) as caught:
        answering(monkeypatch, asked, UNREACHABLE).machines()
    assert "Failed to create the VirtualBox object" in caught.value.why
    assert "VBoxSVC.log" in caught.value.hint
    assert len(asked) > 2


def test_a_refusal_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    with pytest.raises(VirtualBoxError, match="did not add"):
        answering(monkeypatch, asked, ANSWERS["too_few_words"]).add_controller("web", ["--name=disk"])
    assert len(asked) == 1


def test_a_machine_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    assert answering(monkeypatch, asked, ANSWERS["info_none"]).info("nosuch") is None
    with pytest.raises(DriverError, match="is gone"):
        answering(monkeypatch, asked, ANSWERS["info_none"]).must_have("nosuch")


def test_a_machine_that_is_just_being_let_go_of_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    ending = Answer(1, "", "VBoxManage: error: The object is not ready\n")
    machine = answering(monkeypatch, asked, ending, ANSWERS["info"]).info("web")
    assert machine is not None
    assert len(asked) == 2


def test_no_answer_within_the_deadline_is_said_as_a_service_that_hangs(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    late = TimedOut(Result(command="", exited=-1, stdout="", stderr="", seconds=60.0))
    with pytest.raises(VirtualBoxError) as caught:
        answering(monkeypatch, asked, late).machines()
    assert "VBoxSVC hangs" in caught.value.why


def test_an_answer_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    with pytest.raises(VirtualBoxError, match="cannot be read"):
        answering(monkeypatch, asked, Answer(0, "nothing", "")).version()


def test_a_platform_is_named_only_where_the_version_knows_it(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    for version, said in (("7.0.20r163906", False), ("7.1.0r164728", True)):
        box = answering(monkeypatch, asked, Answer(0, f"{version}\n", ""))
        box.create("web", uuid="u-1", folder=Path("/m"), os_type="Linux_64")
        assert ("--platform-architecture=x86" in asked[-1]) == said


def test_without_the_command_it_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VBoxManage, "installed", property(lambda _: False))
    with pytest.raises(DriverError) as caught:
        VBoxManage().machines()
    assert "virtualbox.org" in caught.value.hint


def test_what_is_written_goes_away_by_an_empty_value(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    box = answering(monkeypatch, asked, Answer(0, "", ""))
    box.set_extra_data("web", {"a": "1", "b": ""})
    box.set_guest_properties("web", {"/a": "1", "/b": ""})
    assert [call[1:] for call in asked] == [
        ["setextradata", "web", "a", "1"],
        ["setextradata", "web", "b"],
        ["guestproperty", "set", "web", "/a", "1"],
        ["guestproperty", "delete", "web", "/b"],
    ]


@pytest.mark.parametrize("code", ["VBOX_E_OBJECT_NOT_FOUND", "VBOX_E_FILE_ERROR"])
def test_a_medium_that_is_not_registered_is_out_of_the_registry(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]], code: str
) -> None:
    refused = Answer(1, "", f"VBoxManage: error: no\nVBoxManage: error: Details: code {code} (0x80bb0001)\n")
    answering(monkeypatch, asked, refused).close_medium("disk", "/a.vdi")
    assert len(asked) == 1


def test_a_medium_that_is_in_use_stays(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    with pytest.raises(VirtualBoxError) as caught:
        answering(monkeypatch, asked, ANSWERS["medium_in_use"]).close_medium("disk", "/a.vdi")
    assert caught.value.code == "VBOX_E_OBJECT_IN_USE"


def test_a_machine_that_is_not_registered_is_unregistered(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    answering(monkeypatch, asked, ANSWERS["info_none"]).unregister("web")
    with pytest.raises(VirtualBoxError, match="did not unregister"):
        answering(monkeypatch, asked, ANSWERS["too_few_words"]).unregister("web")


def test_media_are_listed_by_kind(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    assert len(answering(monkeypatch, asked, ANSWERS["disks"]).media("disk")) == 2
    assert [medium.format for medium in answering(monkeypatch, asked, ANSWERS["cds"]).media("dvd")] == ["RAW"]
    assert [call[-1] for call in asked] == ["hdds", "dvds"]


def test_what_this_virtualbox_brings_is_asked(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    iso = answering(monkeypatch, asked, ANSWERS["system_properties"]).additions()
    assert iso == Path("/usr/share/virtualbox/VBoxGuestAdditions.iso")
    assert "Debian12_64" in answering(monkeypatch, asked, ANSWERS["os_types"]).os_types()
    assert answering(monkeypatch, asked, ANSWERS["guest_properties"]).guest_properties("web") != []
    assert answering(monkeypatch, asked, ANSWERS["extra_data"]).extra_data("web") == {"bakery:run": "r1"}


def test_a_window_is_shown_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]) -> None:
    box = answering(monkeypatch, asked, Answer(0, "", ""))
    box.start("web", gui=True, timeout=1)
    box.start("web", gui=False, timeout=1)
    assert [call[-1] for call in asked] == ["--type=gui", "--type=headless"]


def test_a_clone_keeps_the_network_address_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: list[list[str]]
) -> None:
    box = answering(monkeypatch, asked, Answer(0, "", ""))
    for snapshot, macs in (("clean", True), ("clean", False), ("", True), ("", False)):
        box.clone("golden", "web", uuid="u-1", folder=Path("/m"), snapshot=snapshot, macs=macs)
    options = [next((word for word in call if word.startswith("--options")), "") for call in asked]
    assert options == ["--options=link,keepallmacs", "--options=link", "--options=keepallmacs", ""]
