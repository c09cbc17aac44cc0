"""A machine is powered off by its guest where its disk matters, and cut off where it does not."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from bakery.drivers.virtualbox.api.answers import machine_info
from bakery.drivers.virtualbox.api.errors import MachineLockedError, VirtualBoxError
from bakery.drivers.virtualbox.machine import power
from bakery.errors import DriverError, Interrupted, NotYet
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel
from tests.unit.drivers.virtualbox.box import TableBox, info

NAME = "bakery-r1-1"
GONE = VirtualBoxError("no", code="VBOX_E_OBJECT_NOT_FOUND")


def box(*states: str | Exception) -> TableBox:
    said = [state if isinstance(state, Exception) else info(state=state) for state in states]
    return TableBox(replies={"showvminfo": list(said)})


def off(asked: TableBox, tmp_path: Path, timeout: float = 5.0, cancel: Cancel | None = None) -> None:
    power.off(
        asked, NAME, tmp_path / "serial", timeout=timeout, work=WorkContext(cache=tmp_path, cancel=cancel or Cancel())
    )


def test_a_guest_that_obeys_is_asked_once(tmp_path: Path) -> None:
    asked = box("running", "running", "stopping", "poweroff")
    off(asked, tmp_path)
    assert [call for call in asked.asked if call[0] == "controlvm"] == [("controlvm", NAME, "acpipowerbutton")]


def test_no_session_is_opened_while_a_guest_shuts_down(tmp_path: Path) -> None:
    """One that met the end of the machine's own has left VBoxSVC hanging."""
    asked = box("running", "poweroff")
    listed = f'"{NAME}" {{8fd92fe8-17a6-4e42-946d-0cec6d104080}}\n'
    asked.replies["list runningvms"] = [listed, listed, ""]
    off(asked, tmp_path)
    assert asked.verbs() == ["showvminfo", "controlvm", "list", "list", "list", "showvminfo"]


def test_a_guest_that_is_off_is_not_asked(tmp_path: Path) -> None:
    asked = box("poweroff")
    off(asked, tmp_path)
    assert asked.verbs() == ["showvminfo"]


def test_a_guest_that_refuses_is_left_running_and_said(tmp_path: Path) -> None:
    asked = box("running")
    with pytest.raises(DriverError, match="the machine powers off: timed out") as caught:
        off(asked, tmp_path, timeout=0.3)
    assert "ACPI" in caught.value.hint
    assert "poweroff" not in [word for call in asked.asked for word in call]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("aborted", "killed or crashed"),
        ("saved", "saved the machine's state"),
        ("gurumeditation", "guru meditation"),
        ("paused", "paused the machine"),
    ],
)
def test_a_machine_that_ends_otherwise_has_no_image(tmp_path: Path, state: str, words: str) -> None:
    (tmp_path / "serial").write_text("Kernel panic - not syncing\n")
    with pytest.raises(DriverError) as caught:
        off(box("running", state), tmp_path)
    assert words in caught.value.what
    assert "Kernel panic" in caught.value.why


def test_a_machine_that_somebody_unregistered_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="is gone"):
        off(box("running", GONE), tmp_path)


def test_a_cancelled_build_stops_waiting(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set("Ctrl-C")
    with pytest.raises(Interrupted):
        off(box("running"), tmp_path, cancel=cancel)


@pytest.mark.parametrize("state", ["starting", "restoring", "saving"])
def test_a_machine_that_is_starting_is_waited_for(tmp_path: Path, state: str) -> None:
    with pytest.raises(NotYet, match=state):
        power.must_run(box(state), NAME, tmp_path / "serial")


def test_a_machine_that_runs_is_shown(tmp_path: Path) -> None:
    assert power.must_run(box("running"), NAME, tmp_path / "serial").uuid == "u-1"


def test_one_that_is_off_is_not_cut_off() -> None:
    asked = box()
    power.cut_off(asked, machine_info(info(state="aborted")))
    assert asked.asked == []


def test_a_saved_state_is_discarded() -> None:
    asked = box()
    power.cut_off(asked, machine_info(info(state="saved")))
    assert asked.asked == [("discardstate", "u-1")]


def test_one_that_runs_is_cut_off_although_it_was_just_ending() -> None:
    asked = box("running", "stopping", "poweroff")
    asked.replies["controlvm"] = [VirtualBoxError("not running")]
    power.cut_off(asked, machine_info(info(state="running")))
    assert asked.verbs() == ["controlvm", *["list", "showvminfo"] * 3]


def test_no_session_is_opened_while_a_machine_is_cut_off() -> None:
    asked = box("poweroff")
    asked.replies["list runningvms"] = ['"web" {8fd92fe8-17a6-4e42-946d-0cec6d104080}\n', ""]
    power.cut_off(asked, machine_info(info(UUID="8fd92fe8-17a6-4e42-946d-0cec6d104080", state="running")))
    assert asked.verbs() == ["controlvm", "list", "list", "showvminfo"]


def test_a_locked_machine_is_asked_again_until_it_is_let_go() -> None:
    asked = TableBox(replies={"modifyvm": [MachineLockedError("no", why="locked"), "", ""]})
    asked.modify(NAME, ["--memory=64"])
    assert asked.verbs() == ["modifyvm", "modifyvm"]


class Process:
    """A process of this host, as psutil shows it."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.killed = False

    def cmdline(self) -> list[str]:
        if not self.words:
            raise psutil.NoSuchProcess(1)
        return self.words

    def kill(self) -> None:
        self.killed = True


def test_a_machine_that_hears_nothing_is_killed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "CUT_OFF", 0.2)
    ours = Process("/usr/lib/virtualbox/VBoxHeadless", "--comment", "x", "--startvm", "u-1")
    others = [Process("/usr/lib/virtualbox/VBoxHeadless", "--startvm", "u-2"), Process("vi", "u-1"), Process()]
    monkeypatch.setattr(psutil, "process_iter", lambda: [*others, ours])
    asked = TableBox(replies={"showvminfo": [lambda _: info(state="aborted" if ours.killed else "stopping")]})
    power.cut_off(asked, machine_info(info(state="running")))
    assert ours.killed
    assert not any(other.killed for other in others)


def test_one_that_stays_all_the_same_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "CUT_OFF", 0.2)
    monkeypatch.setattr(psutil, "process_iter", list)
    with pytest.raises(DriverError, match="the end of bakery-r1-1"):
        power.cut_off(box("stopping"), machine_info(info(state="running")))


def test_one_that_went_while_it_was_cut_off_is_off() -> None:
    power.cut_off(box(GONE), machine_info(info(state="running")))


def test_one_that_never_was_there_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="is gone"):
        power.must_run(box(GONE), NAME, tmp_path / "serial")
