"""The VBoxManage of tests hands on every verb but those that need a running guest, which it plays."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.virtualbox.api.answers import machine_info
from bakery.testing.virtualbox import startvm_stand_in as stand_in
from tests.unit.drivers.virtualbox.box import info
from tests.unit.drivers.virtualbox.recorded import ANSWERS, Answer

UUID = "8fd92fe8-17a6-4e42-946d-0cec6d104080"
VMS = f'"web" {{{UUID}}}\n'


class Guest:
    """A guest that notes what is done to it."""

    def __init__(self, state: str, done: list[str], fails: str = "") -> None:
        self.state = state
        self._done = done
        self._fails = fails

    def settle(self) -> None:
        self._done.append("settle")

    def start(self) -> None:
        if self._fails:
            raise RuntimeError(self._fails)
        self._done.append("start")

    def ask(self, order: str, **arguments: Any) -> None:
        self._done.append(" ".join((order, *arguments.values())))

    def pause(self) -> None:
        self._done.append("pause")

    def resume(self) -> None:
        self._done.append("resume")

    def end(self) -> None:
        self._done.append("end")


class Real:
    """The real VBoxManage: its answers by verb, and what was handed on to it for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, Answer] = {"showvminfo": Answer(0, info("web"), ""), "list": Answer(0, VMS, "")}
        self.handed_on: list[list[str]] = []
        self.done: list[str] = []
        self.guest = Guest("", self.done)
        monkeypatch.setenv("BAKERY_VIRTUALBOX_ROOT", "/root-folder")
        monkeypatch.setenv("VBOX_USER_HOME", "/home-folder")
        monkeypatch.setattr(stand_in, "guest_of", lambda _: self.guest)
        monkeypatch.setattr(os, "execvp", lambda _, line: self.handed_on.append(line))
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, line: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert line[:5] == ["unshare", "--mount", "--propagation", "private", "sh"]
        words = line[line.index("/usr/bin/VBoxManage") + 1 :]
        answer = self.answers.get(" ".join(words[:2])) or self.answers[words[0]]
        return subprocess.CompletedProcess(line, answer.exit, answer.stdout, answer.stderr)

    def runs(self, state: str = "running") -> None:
        self.guest = Guest(state, self.done)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Real:
    return Real(monkeypatch)


@pytest.mark.parametrize(
    "words", [["list", "vms"], ["modifyvm", "web", "--cpus=2"], ["showvminfo", "web", "--details"], ["export", "web"]]
)
def test_what_needs_no_guest_is_the_real_ones(real: Real, words: list[str]) -> None:
    stand_in.main(words)
    (line,) = real.handed_on
    assert line[line.index("/root-folder") :] == ["/root-folder", "/usr/bin/VBoxManage", *words]


# ---- a machine's state ----------------------------------------------------------------------------------------------


def shown(real: Real, capsys: pytest.CaptureFixture[str]) -> str:
    assert stand_in.main(["showvminfo", "web", "--machinereadable"]) == 0
    assert real.handed_on == []
    return machine_info(capsys.readouterr().out).state


@pytest.mark.parametrize("state", ["running", "paused", "aborted"])
def test_the_state_of_a_machine_is_that_of_its_guest(
    real: Real, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    real.runs(state)
    assert shown(real, capsys) == state


def test_a_machine_without_a_guest_is_as_the_real_one_says(real: Real, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(real, capsys) == "poweroff"
    real.answers["showvminfo"] = Answer(0, info("web", state="saved"), "")
    real.runs()
    assert shown(real, capsys) == "saved"


def test_all_else_of_a_machine_is_as_the_real_one_says(real: Real, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = ANSWERS["info"]
    real.answers["showvminfo"] = recorded
    real.runs()
    stand_in.main(["showvminfo", "web", "--machinereadable"])
    assert capsys.readouterr().out == recorded.stdout.replace('VMState="poweroff"', 'VMState="running"')


@pytest.mark.parametrize(
    "words", [["showvminfo", "no", "--machinereadable"], ["startvm", "no"], ["controlvm", "no", "poweroff"]]
)
def test_a_machine_that_is_not_there_is_refused_in_the_real_ones_words(
    real: Real, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    real.answers["showvminfo"] = ANSWERS["info_none"]
    assert stand_in.main(words) == 1
    assert "Could not find a registered machine" in capsys.readouterr().err
    assert real.done == []


@pytest.mark.parametrize(("state", "listed"), [("running", VMS), ("paused", VMS), ("aborted", ""), ("", "")])
def test_machines_whose_guests_run_are_listed(
    real: Real, capsys: pytest.CaptureFixture[str], state: str, listed: str
) -> None:
    real.runs(state)
    assert stand_in.main(["list", "runningvms"]) == 0
    assert capsys.readouterr().out == listed


# ---- started --------------------------------------------------------------------------------------------------------


def test_a_machine_is_started_by_booting_its_disk(real: Real, capsys: pytest.CaptureFixture[str]) -> None:
    assert stand_in.main(["startvm", "web", "--type=headless"]) == 0
    assert real.done == ["settle", "start"]
    assert 'VM "web" has been successfully started.' in capsys.readouterr().out


@pytest.mark.parametrize(("guest", "machine"), [("running", "poweroff"), ("paused", "poweroff"), ("", "saved")])
def test_what_virtualbox_itself_would_refuse_it_refuses_itself(real: Real, guest: str, machine: str) -> None:
    real.answers["showvminfo"] = Answer(0, info("web", state=machine), "")
    real.runs(guest)
    stand_in.main(["startvm", "web"])
    assert real.handed_on[0][-2:] == ["web", "--type=headless"]
    assert "start" not in real.done


def test_a_guest_that_does_not_come_up_is_an_error_of_startvm(real: Real, capsys: pytest.CaptureFixture[str]) -> None:
    real.guest = Guest("", real.done, fails="QEMU, which plays the guest, ended at once: no such disk")
    assert stand_in.main(["startvm", "web"]) == 1
    assert "VBoxManage: error: QEMU, which plays the guest" in capsys.readouterr().err


# ---- controlled -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "done"),
    [
        (["acpipowerbutton"], "system_powerdown"),
        (["poweroff"], "end"),
        (["pause"], "pause"),
        (["resume"], "resume"),
        (["reset"], "system_reset"),
        (["screenshotpng", "/x.png"], "screendump /x.png png"),
    ],
)
def test_what_is_done_to_a_machine_is_done_to_its_guest(real: Real, words: list[str], done: str) -> None:
    real.runs()
    assert stand_in.main(["controlvm", "web", *words]) == 0
    assert real.done == ["settle", done]


def test_a_machine_that_is_off_is_not_running_in_the_real_ones_words(
    real: Real, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stand_in.main(["controlvm", "web", "acpipowerbutton"]) == ANSWERS["not_running"].exit
    told = capsys.readouterr().err
    assert told.splitlines()[0] in ANSWERS["not_running"].stderr


def test_what_is_not_played_is_said_as_that(real: Real, capsys: pytest.CaptureFixture[str]) -> None:
    real.runs()
    assert stand_in.main(["controlvm", "web", "teleport"]) == 1
    assert "does not know `controlvm teleport`" in capsys.readouterr().err


def test_a_disk_is_known_with_all_that_it_stands_on(real: Real) -> None:
    real.answers["list hdds"] = ANSWERS["disks"]
    (top,) = [path for path in map(Path, ANSWERS["disks"].stdout.split()) if path.parent.name == "Snapshots"]
    assert stand_in.chain_of(top) == [top, Path("/recorded/disk.vdi")]


def test_each_machine_has_a_guest_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VBOX_USER_HOME", "/home-folder")
    folders = {stand_in.guest_of(machine_info(info(UUID=uuid)))._folder for uuid in ("u-1", "u-2")}
    assert folders == {Path("/home-folder/startvm-stand-in/u-1"), Path("/home-folder/startvm-stand-in/u-2")}


def test_the_strings_of_a_machines_firmware_are_those_that_the_real_one_has_noted(real: Real) -> None:
    named = "Key: VBoxInternal/Devices/{}/0/Config/DmiOEMVBox{}, Value: {}\n"
    noted = (("efi", "Rev", "of EFI"), ("pcbios", "Rev", "second"), ("pcbios", "Ver", "first"))
    real.answers["getextradata"] = Answer(0, "".join(named.format(*entry) for entry in noted), "")
    assert stand_in.oem_strings_of(machine_info(info(firmware="BIOS"))) == ["first", "second"]
    assert stand_in.oem_strings_of(machine_info(info(firmware="EFI"))) == ["of EFI"]
