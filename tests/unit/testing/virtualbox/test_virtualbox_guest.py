"""A played guest has the machine's hardware and its real disk, and says how it is in VirtualBox's words."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from bakery.drivers.qemu.firmware import Firmware
from bakery.drivers.qemu.process import SOCKET
from bakery.drivers.virtualbox.api.answers import MachineInfo, machine_info
from bakery.errors import NotYet
from bakery.testing.virtualbox import guest as played
from bakery.testing.virtualbox.guest import PlayedGuest, on_this_host
from bakery.testing.virtualbox.guest_process import ALIVE, EXIT, LOG, WORDS
from tests.unit.drivers.virtualbox.box import info

UUID = "8fd92fe8-17a6-4e42-946d-0cec6d104080"
HARDWARE = {
    "chipset": "piix3",
    "memory": "512",
    "cpus": "2",
    "firmware": "BIOS",
    "hardwareuuid": UUID,
    "nic1": "nat",
    "nictype1": "virtio",
    "macaddress1": "080027AABBCC",
    "Forwarding(0)": "bakery-ssh,tcp,127.0.0.1,22022,,22",
    "uartmode1": "file,/m/serial.log",
}


def machine(**more: str) -> MachineInfo:
    return machine_info(info(UUID=UUID, **{**HARDWARE, **more}))


def disk(path: Path, kind: int = 1) -> Path:
    """Write the head of a VDI file: a plain one, or one that stands on another (4)."""
    head = bytearray(0x50)
    struct.pack_into("<I", head, 0x4C, kind)
    path.write_bytes(head)
    return path


def command(tmp_path: Path, **more: str) -> list[str]:
    return PlayedGuest(tmp_path / "guest", machine(**more), lambda _: [])._command()


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


# ---- hardware -------------------------------------------------------------------------------------------------------


def test_it_has_the_machines_memory_processors_identity_and_serial_file(tmp_path: Path) -> None:
    words = command(tmp_path)
    assert (value(words, "-m"), value(words, "-smp"), value(words, "-uuid")) == ("512M", "2", UUID)
    assert value(words, "-machine") == "pc"
    assert value(words, "-serial") == "file:/m/serial.log"
    assert value(command(tmp_path, chipset="ich9"), "-machine") == "q35"


def test_a_machine_without_a_serial_file_writes_to_none(tmp_path: Path) -> None:
    assert "-serial" not in command(tmp_path, uartmode1="disconnected")


def test_the_port_rule_leads_to_the_guest_and_the_host_is_out_of_reach_unless_it_is_asked_for(tmp_path: Path) -> None:
    network = value(command(tmp_path), "-netdev")
    assert "hostfwd=tcp:127.0.0.1:22022-:22" in network
    assert "restrict=on" in network
    assert "restrict" not in value(command(tmp_path, localhostReachable="1"), "-netdev")


@pytest.mark.parametrize(("name", "card"), [("virtio", "virtio-net-pci"), ("82540EM", "e1000"), ("Am79C973", "pcnet")])
def test_the_network_card_is_the_machines(tmp_path: Path, name: str, card: str) -> None:
    words = command(tmp_path, nictype1=name)
    assert f"{card},netdev=n,mac=08:00:27:AA:BB:CC" in words


def test_a_machine_without_a_network_has_none(tmp_path: Path) -> None:
    assert "-netdev" not in command(tmp_path, nic1="none")


def test_efi_gets_variables_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "VARS.fd").write_bytes(b"empty")
    (tmp_path / "guest").mkdir()
    monkeypatch.setattr(played, "find_firmware", lambda _: Firmware(Path("/CODE.fd"), tmp_path / "VARS.fd"))
    words = command(tmp_path, firmware="EFI")
    assert "if=pflash,format=raw,readonly=on,file=/CODE.fd" in words
    assert (tmp_path / "guest" / "firmware-variables.fd").read_bytes() == b"empty"


@pytest.mark.parametrize("strings", [[], ["a,b", "c"]])
def test_the_firmwares_table_has_the_machines_strings(tmp_path: Path, strings: list[str]) -> None:
    (tmp_path / "guest").mkdir()
    words = PlayedGuest(tmp_path / "guest", machine(), lambda _: [], lambda: strings)._command()
    files = [words[at + 1].removeprefix("type=11,path=") for at, word in enumerate(words) if word == "-smbios"]
    assert [Path(file).read_text(encoding="utf-8") for file in files] == strings


@pytest.mark.parametrize("strings", [["x" * 256], ["x" * 200, "y" * 200]])
def test_a_machine_with_longer_strings_than_virtualbox_takes_does_not_start(tmp_path: Path, strings: list[str]) -> None:
    guest = PlayedGuest(tmp_path / "guest", machine(), lambda _: [], lambda: strings)
    with pytest.raises(RuntimeError, match="DMI strings is too long"):
        guest._command()


@pytest.mark.parametrize(
    ("kind", "chipset", "place", "device"),
    [
        ("PIIX4", "piix3", "0-1", "ide-hd,bus=ide.0,unit=1"),
        ("PIIX4", "ich9", "1-0", "ide-hd,bus=c0.1,unit=0"),
        ("IntelAhci", "piix3", "2-0", "ide-hd,bus=c0.2"),
        ("NVMe", "ich9", "0-0", "nvme,serial=vbox0"),
        ("VirtioSCSI", "ich9", "3-0", "scsi-hd,bus=c0.0,scsi-id=3"),
        ("LsiLogic", "piix3", "0-0", "scsi-hd,bus=c0.0,scsi-id=0"),
    ],
)
def test_a_disk_hangs_where_the_machine_has_it(
    tmp_path: Path, kind: str, chipset: str, place: str, device: str
) -> None:
    path = disk(tmp_path / "disk.vdi")
    more = {"storagecontrollername0": "disk", "storagecontrollertype0": kind, f"disk-{place}": str(path)}
    words = command(tmp_path, chipset=chipset, **more)
    assert f"{device},drive=d0,bootindex=0" in words
    drive: dict[str, Any] = json.loads(value(words, "-blockdev"))
    assert (drive["driver"], drive["read-only"], drive["file"]["filename"]) == ("vdi", False, str(path))


def test_a_cd_is_read_only_and_an_empty_drive_is_left_out(tmp_path: Path) -> None:
    iso = tmp_path / "seed.iso"
    iso.touch()
    more = {
        "storagecontrollername0": "cd",
        "storagecontrollertype0": "PIIX4",
        "cd-0-0": str(iso),
        "cd-1-0": "emptydrive",
    }
    words = command(tmp_path, **more)
    assert json.loads(value(words, "-blockdev"))["read-only"]
    assert [word for word in words if word.startswith("ide-")] == ["ide-cd,bus=ide.0,unit=0,drive=d0"]


def test_a_disk_that_stands_on_another_is_played_from_a_copy_of_both(tmp_path: Path) -> None:
    top, base = disk(tmp_path / "top.vdi", kind=4), disk(tmp_path / "base.vdi")
    guest = PlayedGuest(
        tmp_path / "guest",
        machine(storagecontrollername0="d", storagecontrollertype0="PIIX4", **{"d-0-0": str(top)}),
        lambda uppermost: [uppermost, base],
    )
    drive = json.loads(value(guest._command(), "-blockdev"))
    assert drive["driver"] == "raw"
    assert guest._copies == [([str(top), str(base)], tmp_path / "guest" / "disk-0.raw")]


def test_what_virtualbox_brings_is_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKERY_VIRTUALBOX_ROOT", str(tmp_path))
    assert on_this_host(tmp_path) == tmp_path
    assert on_this_host(Path("/usr/share/no/such.iso")) == tmp_path / "usr/share/no/such.iso"


# ---- its life -------------------------------------------------------------------------------------------------------


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Hold the lock that the process beside a guest holds."""
    with (folder / ALIVE).open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def guest(tmp_path: Path) -> PlayedGuest:
    """A guest that was started; whether it is alive says the test."""
    folder = tmp_path / "guest"
    folder.mkdir()
    (folder / WORDS).write_text("{}", encoding="utf-8")
    return PlayedGuest(folder, machine(), lambda _: [])


def test_one_that_never_was_started_has_no_state(tmp_path: Path) -> None:
    assert PlayedGuest(tmp_path / "none", machine(), lambda _: []).state == ""


def test_one_whose_process_lives_runs_or_is_paused(guest: PlayedGuest, tmp_path: Path) -> None:
    with alive(tmp_path / "guest"):
        assert guest.state == "running"
        (tmp_path / "guest" / "paused").touch()
        assert guest.state == "paused"


@pytest.mark.parametrize(("code", "state"), [("0", ""), ("1", "aborted"), ("-9", "aborted"), (None, "aborted")])
def test_one_that_ended_is_off_or_aborted_by_how_it_ended(
    guest: PlayedGuest, tmp_path: Path, code: str | None, state: str
) -> None:
    with alive(tmp_path / "guest"):
        pass
    if code is not None:
        (tmp_path / "guest" / EXIT).write_text(code, encoding="utf-8")
    assert guest.state == state
    guest.settle()
    assert (tmp_path / "guest").exists() == (state == "aborted")


def test_one_that_is_just_being_started_counts_as_alive_for_a_minute(guest: PlayedGuest, tmp_path: Path) -> None:
    assert guest.state == "running"
    os.utime(tmp_path / "guest", (0, 0))
    assert guest.state == "aborted"


class Monitor:
    """QEMU's monitor, which notes what it is asked."""

    asked: list[str]
    there = True

    def __init__(self, folder: Path) -> None:
        del folder

    def __enter__(self) -> Self:
        if not self.there:
            raise NotYet("QEMU is gone")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, order: str, **arguments: Any) -> None:
        self.asked.append(" ".join((order, *arguments.values())))


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> type[Monitor]:
    monkeypatch.setattr(played, "Monitor", Monitor)
    monkeypatch.setattr(played, "PATIENCE", 0.2)
    Monitor.asked, Monitor.there = [], True
    return Monitor


def test_it_is_held_still_and_runs_on(guest: PlayedGuest, tmp_path: Path, monitor: type[Monitor]) -> None:
    with alive(tmp_path / "guest"):
        guest.pause()
        assert guest.state == "paused"
        guest.resume()
        assert guest.state == "running"
    guest.ask("screendump", filename="/x.png")
    guest.end()
    assert monitor.asked == ["stop", "cont", "screendump /x.png", "quit"]


def test_one_that_is_gone_is_waited_for_and_no_error(
    guest: PlayedGuest, tmp_path: Path, monitor: type[Monitor]
) -> None:
    monitor.there = False
    with alive(tmp_path / "guest"):
        pass
    guest.ask("system_powerdown")
    guest.end()
    assert monitor.asked == []


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The processes that were started; each makes the file that `becomes` names."""
    monkeypatch.setenv("BAKERY_VIRTUALBOX_ROOT", "/root-folder")
    monkeypatch.setattr(played, "PATIENCE", 0.2)
    calls: list[dict[str, Any]] = []

    def start(words: list[str], **options: Any) -> None:
        calls.append({"words": words, **options})
        folder = tmp_path / "guest"
        name = os.environ.get("BECOMES", "")
        if name:
            (folder / name).touch()
        (folder / LOG).write_text("qemu: no such disk", encoding="utf-8")

    monkeypatch.setattr(subprocess, "Popen", start)
    return calls


def test_it_is_started_beside_us_with_the_lock_of_its_machine(
    guest: PlayedGuest, tmp_path: Path, started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BECOMES", SOCKET)
    guest.start()
    (call,) = started
    assert call["words"][1:] == ["-m", "bakery.testing.virtualbox.guest_process", str(tmp_path / "guest")]
    assert call["start_new_session"]
    plan = json.loads((tmp_path / "guest" / WORDS).read_text(encoding="utf-8"))
    assert plan["lock"][-1] == UUID
    assert "qemu-system-x86_64" in plan["qemu"]
    assert plan["disks"] == []


@pytest.mark.parametrize(("becomes", "words"), [(EXIT, "no such disk"), ("", "does not answer")])
def test_one_that_does_not_come_up_is_said(
    guest: PlayedGuest,
    started: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    becomes: str,
    words: str,
) -> None:
    monkeypatch.setenv("BECOMES", becomes)
    with pytest.raises(RuntimeError, match=words):
        guest.start()
    assert len(started) == 1
