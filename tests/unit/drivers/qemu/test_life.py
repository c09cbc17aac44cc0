"""A virtual machine's life: launched, found, reached, ended; over a QEMU in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.qemu import credentials, firmware, power, process
from bakery.drivers.qemu.command import SEED, VARIABLES
from bakery.drivers.qemu.driver import LEARNED, RECORD, QemuDriver
from bakery.drivers.qemu.firmware import Firmware
from bakery.drivers.qemu.layers import Layer, Layers
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError, ImagefileError, NotYet, SmokeError
from bakery.model import Handle, Login, Resource, Where
from bakery.state.claim import Claim
from tests.unit.clock import Clock
from tests.unit.drivers.qemu.fake_qemu import FakePopen, FakeQemu, image, install
from tests.unit.fake_tools import FakeTools


def test_a_machine_is_written_down_before_it_is_started(
    claim: Claim, folder: Path, tools: FakeTools, started: list[list[str]], tmp_path: Path
) -> None:
    source = Qemu(base=image(tmp_path / "base.qcow2"), accel="tcg", disk="2G", memory="512M")
    handle = QemuDriver().launch(source, claim)
    assert (handle.id, handle.data["pid"], handle.data["host_key"]) == ("bakery-r-1", 5001, claim.keys.host_public)
    assert handle.resource.data == {"folder": str(folder), "pid": 5001}
    assert json.loads((folder / RECORD).read_text())["run"] == "r"
    assert (started[0][2], "512M" in started[0]) == ("guest=bakery-r-1", True)
    assert Layers.read(folder).shared == (Layer(str(tmp_path / "base.qcow2"), "qcow2"),)
    assert tools.lines[-1].endswith(f"{folder}/disk-1.qcow2 {2 << 30}")
    assert (folder / credentials.CREDENTIALS).stat().st_mode & 0o777 == 0o600
    assert not any("PRIVATE" in word for word in started[0])


def test_a_disk_cannot_shrink_and_nothing_was_started(
    claim: Claim, tools: FakeTools, started: list[list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DriverError, match="disk= is 512 MiB, its base 1024 MiB"):
        QemuDriver().launch(Qemu(base=image(tmp_path / "base.qcow2"), accel="tcg", disk="512M"), claim)
    assert started == []


def test_a_machine_that_tests_an_image_boots_as_a_users_does(
    claim: Claim, tools: FakeTools, started: list[list[str]], tmp_path: Path
) -> None:
    tested = replace(claim, role="smoke", login=Login(user="admin", port=2222, key="~/.ssh/admin"))
    handle = QemuDriver().launch(image(tmp_path / "web.qcow2"), tested)
    assert (handle.data["host_key"], handle.data["key"], handle.settings["user"]) == ("", "~/.ssh/admin", "admin")
    assert any("127.0.0.1:0-:2222" in word for word in started[0])


@pytest.mark.parametrize(
    ("values", "what"),
    [({"id": "ami-1"}, "is not a file on this host"), ({"format": "vmdk"}, "cannot boot an image of the format")],
)
def test_an_image_of_elsewhere_is_no_disk(
    claim: Claim, started: list[list[str]], tmp_path: Path, values: dict[str, str], what: str
) -> None:
    with pytest.raises(DriverError, match=what):
        QemuDriver().launch(image(tmp_path / "x", **values), claim)
    assert started == []


def test_what_is_no_base_is_the_imagefiles_mistake(claim: Claim) -> None:
    with pytest.raises(ImagefileError, match="not something that a virtual machine can boot") as raised:
        QemuDriver().launch(Qemu(base="bookworm", accel="tcg"), claim)
    assert "Debian(...)" in raised.value.hint


def test_a_layer_that_is_gone_is_named(claim: Claim, tools: FakeTools, tmp_path: Path) -> None:
    gone = image(tmp_path / "x")
    gone.path.unlink()
    with pytest.raises(DriverError, match="a layer of the machine's disk is gone") as raised:
        QemuDriver().launch(gone, claim)
    assert raised.value.why == str(tmp_path / "x")


def test_firmwares_variables_are_the_machines_own(
    claim: Claim, tools: FakeTools, started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").write_bytes(b"code")
    (tmp_path / "vars").write_bytes(b"vars")
    monkeypatch.setattr(firmware, "find", lambda _: Firmware(tmp_path / "code", tmp_path / "vars"))
    QemuDriver().launch(Qemu(base=image(tmp_path / "b"), accel="tcg", firmware="uefi"), claim)
    assert (claim.folder / VARIABLES).read_bytes() == b"vars"
    assert any(f"file={tmp_path}/code" in word for word in started[0])


@pytest.mark.parametrize("found", ["first", "own", "none"])
def test_firmware_is_looked_for_where_distributions_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    places = [(str(tmp_path / f"c{n}"), str(tmp_path / f"v{n}")) for n in (1, 2)]
    monkeypatch.setattr(firmware, "PLACES", places)
    share, binary = tmp_path / "share" / "qemu", tmp_path / "bin" / "qemu-system-x86_64"
    share.mkdir(parents=True)
    (tmp_path / "c1").touch()  # without its variables it is none
    wanted = [Path(place) for place in places[1]] if found == "first" else []
    wanted += [share / "edk2-x86_64-code.fd", share / "edk2-i386-vars.fd"] if found == "own" else []
    for path in wanted:
        path.touch()
    monkeypatch.setattr(shutil, "which", lambda *_: str(binary))
    if wanted:
        assert firmware.find("qemu") == Firmware(*wanted)
    else:
        with pytest.raises(DriverError, match="no UEFI firmware"):
            firmware.find("qemu")


def test_a_program_that_cannot_be_started_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("No such file or directory")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(DriverError, match="qemu cannot be started") as raised:
        process.spawn(["qemu"], folder, "bakery-r-1")
    assert "No such file" in raised.value.why


def test_one_that_ends_at_once_leaves_its_exit_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    install(monkeypatch)
    monkeypatch.setattr(subprocess, "Popen", FakePopen([], [], code=1))
    process.spawn(["qemu", "-name", "guest=bakery-r-1"], folder, "bakery-r-1")
    handle = Handle(
        driver="qemu",
        id="bakery-r-1",
        resource=Resource(driver="qemu", kind="machine", key="k"),
        folder=folder,
        data={"pid": 5001},
    )
    (folder / process.LOG).write_text("qemu: Could not access KVM kernel module\n")
    with pytest.raises(DriverError, match="the virtual machine is dead") as raised:
        power.must_live(handle)
    assert "Could not access KVM" in raised.value.why
    assert 'accel="auto"' in raised.value.hint


# ---- what is running -----------------------------------------------------------------------------------------------


def test_machines_of_ours_are_found_by_their_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Other(FakeQemu):
        words: tuple[str, ...] = ()

        def cmdline(self) -> list[str]:
            return list(self.words)

    ours = FakeQemu(tmp_path, name="bakery-r-1", pid=1)
    others = [Other(tmp_path, pid=pid) for pid in (2, 3, 4)]
    others[0].words = ("vim", "-name", "guest=bakery-r-2")
    others[1].words = ("qemu-system-x86_64", "-name", "guest=somebodys")
    dead = FakeQemu(tmp_path, name="bakery-r-3", pid=5, is_alive=False)
    install(monkeypatch, ours, *others, dead)
    assert [(name, found.pid) for name, found in process.owned()] == [("bakery-r-1", 1)]
    assert process.find("bakery-r-1") is ours  # type: ignore[comparison-overlap]  # it stands in for a process
    assert process.find("bakery-r-2") is None
    assert process.find("bakery-r-2", 1) is None, "a process id that is another's now"
    assert [process.alive("bakery-r-1", pid) for pid in (1, 2, 99)] == [True, False, False]


@pytest.mark.parametrize(("survives", "orders"), [([], ["terminate"]), (["terminate"], ["terminate", "kill"])])
def test_a_machine_is_ended_politely_first(
    qemu: FakeQemu, clock: Clock, survives: list[str], orders: list[str]
) -> None:
    qemu.survives = survives
    process.end("bakery-r-1", 4711)
    assert (qemu.orders, qemu.is_alive) == (orders, False)
    process.end("bakery-r-1", None)


def test_a_machine_that_nothing_ends_is_an_error(qemu: FakeQemu, clock: Clock) -> None:
    qemu.survives = ["terminate", "kill"]
    started = clock.now
    with pytest.raises(DriverError, match="does not end") as raised:
        process.end("bakery-r-1", None)
    assert "4711" in raised.value.why
    assert clock.now - started >= process.GRACE + process.PATIENCE


def test_destroying_takes_what_only_the_machine_needed_and_leaves_its_logs(
    qemu: FakeQemu, handle: Handle, folder: Path, clock: Clock
) -> None:
    for name in (SEED, VARIABLES, credentials.CREDENTIALS, "qmp.sock", "serial.log", "keys.json"):
        (folder / name).touch()
    QemuDriver().destroy(handle.resource)
    QemuDriver().destroy(handle.resource)
    assert {path.name for path in folder.iterdir()} == {"serial.log", "keys.json", "layers.json"}
    assert not qemu.is_alive


def test_destroying_an_image_that_was_not_kept_deletes_its_file(tmp_path: Path) -> None:
    (tmp_path / ".web.qcow2").touch()
    QemuDriver().destroy(Resource(driver="qemu", kind="file", key=str(tmp_path / ".web.qcow2")))
    assert list(tmp_path.iterdir()) == []


def test_machines_are_found_by_run_and_age(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = []
    for pid, (run, age) in enumerate([("a", 10.0), ("b", 7200.0), ("c", None)], start=1):
        folder = tmp_path / run
        folder.mkdir()
        here.append(FakeQemu(folder, name=f"bakery-{run}-1", pid=pid))
        if age is not None:
            noted = {"run": run, "build": "web@box", "began": time.time() - age}
            (folder / RECORD).write_text(json.dumps(noted))
    install(monkeypatch, *here)
    driver = QemuDriver()
    assert [resource.run for resource in driver.find(Where())] == ["a", "b"], "one without its note is nobody's"
    assert [resource.run for resource in driver.find(Where(run="b"))] == ["b"]
    (old,) = driver.find(Where(older_than=3600))
    assert (old.key, old.id, old.data) == ("bakery-b-1", "bakery-b-1", {"folder": str(tmp_path / "b"), "pid": 2})


# ---- the way to it -------------------------------------------------------------------------------------------------


def test_the_endpoint_is_the_port_that_leads_to_its_sshd(qemu: FakeQemu, handle: Handle) -> None:
    endpoint = QemuDriver().endpoint(handle)
    assert (endpoint.port, endpoint.user, endpoint.host_key) == (46217, "root", "ssh-ed25519 AAAA")
    assert endpoint.data == {}


def test_a_machine_that_makes_its_own_key_is_learned_behind_a_port_of_ours(
    qemu: FakeQemu, handle: Handle, folder: Path
) -> None:
    own = replace(handle, data={**handle.data, "host_key": ""})
    assert QemuDriver().endpoint(own).data == {"holder": 4711, "learned": str(folder / LEARNED)}
    (folder / LEARNED).write_text("ssh-ed25519 BBBB\n")
    assert QemuDriver().endpoint(own).host_key == "ssh-ed25519 BBBB"


def test_a_key_on_the_console_is_waited_for(qemu: FakeQemu, handle: Handle, folder: Path) -> None:
    settings = {**handle.settings, "host_key": "console"}
    own = replace(handle, settings=settings, data={**handle.data, "host_key": ""})
    with pytest.raises(NotYet, match="not on the console yet"):
        QemuDriver().endpoint(own)
    key = "ssh-ed25519 " + "A" * 68
    text = f"-----BEGIN SSH HOST KEY KEYS-----\r\n{key} root@web\r\n-----END SSH HOST KEY KEYS-----\r\n"
    (folder / process.SERIAL).write_text(text)
    assert QemuDriver().endpoint(own).host_key == key


def test_a_dead_machine_says_so_also_when_it_dies_while_it_is_asked(
    qemu: FakeQemu, handle: Handle, clock: Clock
) -> None:
    def die(**_: Any) -> Exception:
        qemu.is_alive = False
        return NotYet("QEMU did not answer")

    qemu.answers["human-monitor-command"] = die
    with pytest.raises(DriverError, match="the virtual machine is dead"):
        QemuDriver().endpoint(handle)
    with pytest.raises(DriverError, match="the virtual machine is dead"):
        QemuDriver().endpoint(handle)


def test_a_monitor_that_does_not_answer_yet_is_waited_for(qemu: FakeQemu, handle: Handle) -> None:
    qemu.is_deaf = True
    with pytest.raises(NotYet, match="QEMU starts"):
        QemuDriver().endpoint(handle)


def test_an_sshd_that_failed_ends_the_wait_where_no_key_was_given(qemu: FakeQemu, handle: Handle, folder: Path) -> None:
    failed = "systemd[1]: Failed to start ssh.service - OpenBSD Secure Shell server.\r\n"
    (folder / process.SERIAL).write_text(f"[FAILED] {failed}" * 10)
    with pytest.raises(SmokeError, match="its sshd does not start"):
        QemuDriver().endpoint(replace(handle, data={**handle.data, "host_key": ""}))


@pytest.mark.parametrize("grace", [True, False])
def test_a_machine_that_does_not_answer_in_the_middle_is_dead_or_busy(
    qemu: FakeQemu, handle: Handle, clock: Clock, grace: bool
) -> None:
    def ask() -> None:
        with power.answering(handle):
            qemu.is_alive = not grace
            raise NotYet("QEMU did not answer stop")

    with pytest.raises(DriverError, match="is dead" if grace else "does not answer"):
        ask()
