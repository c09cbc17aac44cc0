"""The driver's verbs: what each hands to which part, and what a machine that is not well says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError, NotYet
from bakery.machine.transport.learned_key_file import proving
from bakery.model import Artifact, Checkpoint, Handle, Resource, Where
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.sparse_files import digest
from tests.unit.drivers.virtualbox.box import Reply, TableBox, info
from tests.unit.drivers.virtualbox.test_virtualbox_image import claim, exporting
from tests.unit.drivers.virtualbox.test_virtualbox_launch import IDE

UUID = "10000000-0000-4000-8000-000000000000"
BLOCK = "-----BEGIN SSH HOST KEY KEYS-----\n{key}\n-----END SSH HOST KEY KEYS-----\n"
GONE = VirtualBoxError("no", code="VBOX_E_OBJECT_NOT_FOUND")


def driver(**replies: list[Reply]) -> tuple[VirtualBoxDriver, TableBox]:
    """A driver whose VirtualBox answers this."""
    made = VirtualBoxDriver()
    named = {name.replace("_", " "): answers for name, answers in replies.items()}
    made._box = TableBox(replies={"--version": ["7.2.22\n"], **named})
    return made, made._box


def handle(folder: Path, host_key: str = "ssh-ed25519 AAAA", **settings: Any) -> Handle:
    return Handle(
        driver="virtualbox",
        id="bakery-r1-1",
        resource=Resource(driver="virtualbox", kind="machine", key="bakery-r1-1"),
        folder=folder,
        settings=VirtualBox(base=None, **settings).settings(),
        data={"uuid": "u-1", "port": 20022, "host_public": host_key, "disk": str(folder / "disk.vdi")},
    )


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What disks were copied from."""
    sources: list[str] = []

    def run(words: Sequence[str | Path], *_: Any, **__: Any) -> bytes:
        sources.append(json.loads(str(words[-2]).removeprefix("json:"))["file"]["filename"])
        Path(words[-1]).write_bytes(b"vdi")
        return b""

    monkeypatch.setattr(tools, "run", run)
    return sources


# ---- a machine that runs --------------------------------------------------------------------------------------------


def test_a_machine_is_reached_at_its_port_with_its_pinned_key(tmp_path: Path) -> None:
    asked, _ = driver(showvminfo=[info(state="running")])
    endpoint = asked.endpoint(handle(tmp_path, user="admin"))
    assert (endpoint.port, endpoint.user, endpoint.host_key) == (20022, "admin", "ssh-ed25519 AAAA")


def test_a_key_that_the_machine_made_is_read_from_its_console(tmp_path: Path) -> None:
    asked, _ = driver(showvminfo=[info(state="running")])
    machine = replace(handle(tmp_path, host_key=""), settings={**handle(tmp_path).settings, "host_key": "console"})
    with pytest.raises(NotYet, match="host key"):
        asked.endpoint(machine)
    key = " ".join(make_keys("t").host_public.split()[:2])
    (tmp_path / "serial.log").write_text(BLOCK.format(key=key), encoding="utf-8")
    assert asked.endpoint(machine).host_key == key


def test_a_machine_that_is_only_tested_proves_that_its_key_is_its_own(tmp_path: Path) -> None:
    asked, _ = driver(showvminfo=[info(state="running")])
    machine = handle(tmp_path, host_key="")
    assert asked.endpoint(machine).data == proving(tmp_path / "host-key")
    (tmp_path / "host-key").write_text("ssh-ed25519 BBBB\n", encoding="ascii")
    endpoint = asked.endpoint(machine)
    assert (endpoint.host_key, endpoint.data) == ("ssh-ed25519 BBBB", {})


def test_a_machine_that_is_gone_or_has_crashed_is_said_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "serial.log").write_text("Kernel panic - not syncing\n", encoding="utf-8")
    asked, _ = driver(showvminfo=[info(state="aborted")])
    with pytest.raises(DriverError, match="killed or crashed") as caught:
        asked.endpoint(handle(tmp_path))
    assert "Kernel panic" in caught.value.why
    with pytest.raises(DriverError, match="is gone"):
        driver(showvminfo=[GONE])[0].endpoint(handle(tmp_path))


def test_a_console_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    asked, _ = driver()
    assert asked.console(handle(tmp_path)) == ""
    (tmp_path / "serial.log").write_bytes(b"login: \xff")
    assert asked.console(handle(tmp_path)) == "login: \ufffd"


def test_what_explains_a_failure_is_the_console_the_log_and_the_screen(tmp_path: Path) -> None:
    logs, folder = tmp_path / "Logs", tmp_path / "diagnostics"
    logs.mkdir()
    folder.mkdir()
    (logs / "VBox.log").write_text("Guru Meditation", encoding="utf-8")
    (tmp_path / "serial.log").write_text("login:", encoding="utf-8")
    asked, box = driver(showvminfo=[info(state="running", LogFldr=str(logs))])
    asked.collect_diagnostics(handle(tmp_path), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["VBox.log", "console.log"]
    assert box.asked[-1] == ("controlvm", "u-1", "screenshotpng", str(folder / "screen.png"))


@pytest.mark.parametrize("answer", [GONE, VirtualBoxError("VBoxSVC hangs"), info(state="poweroff", LogFldr="/none")])
def test_diagnostics_of_a_machine_that_is_not_well_are_what_there_is(tmp_path: Path, answer: Reply) -> None:
    (tmp_path / "serial.log").write_text("login:", encoding="utf-8")
    folder = tmp_path / "diagnostics"
    folder.mkdir()
    asked, _ = driver(showvminfo=[answer], controlvm=[VirtualBoxError("it is not running")])
    asked.collect_diagnostics(handle(tmp_path), folder)
    assert [path.name for path in folder.iterdir()] == ["console.log"]


# ---- before, and what it takes --------------------------------------------------------------------------------------


def test_a_step_of_a_registered_machine_has_no_key_and_one_of_an_appliance_has_its_content(tmp_path: Path) -> None:
    asked, _ = driver()
    work = WorkContext(cache=tmp_path)
    assert asked.prepare(VirtualBox(base=RegisteredMachine("golden")), work) is None
    (tmp_path / "web.ova").write_bytes(b"ova")
    sha256 = digest(tmp_path / "web.ova", "sha256", work)
    assert asked.prepare(VirtualBox(base=Appliance(str(tmp_path / "web.ova"))), work) == sha256
    image = Artifact(driver="qemu", id="/i/web.qcow2", name="web", format="qcow2", key="k7")
    assert asked.prepare(VirtualBox(base=image), work) == "k7"


def test_a_machine_takes_its_memory_and_processors_from_this_host() -> None:
    asked, _ = driver()
    source = VirtualBox(base=None, memory="3G", cpus=4)
    image = Artifact(driver="virtualbox", id="/i/web.ova", name="web", format="ova", settings=source.settings())
    for boot in (source, image):
        needs = asked.needs(boot)
        assert (needs.memory, needs.cpus) == (3 << 30, 4)


def test_its_checks_and_its_doctor_are_asked(tmp_path: Path) -> None:
    asked, box = driver()
    box.replies["--version"] = ["5.0.0\n"]
    assert any("too old" in problem.what for problem in asked.check(VirtualBox(base=None)))
    assert any("VirtualBox 5.0.0" in problem.what for problem in asked.doctor(WorkContext(cache=tmp_path)))


# ---- launched from --------------------------------------------------------------------------------------------------


def shown(folder: Path) -> str:
    config = folder / "virtualbox" / "bakery-r1-2" / "bakery-r1-2.vbox"
    return info("bakery-r1-2", config=str(config), **IDE)


def test_a_source_an_image_of_ours_and_a_checkpoint_can_be_started(tmp_path: Path, copied: list[str]) -> None:
    (tmp_path / "disk.qcow2").write_bytes(b"disk")
    base = Artifact(driver="qemu", id=str(tmp_path / "disk.qcow2"), name="web", format="qcow2")
    settings = VirtualBox(base=None, memory="512M").settings()
    ours = Artifact(driver="virtualbox", id=str(tmp_path / "web.ova"), name="web", format="ova", settings=settings)
    saved = Checkpoint(driver="virtualbox", key="k", folder=tmp_path, settings={"source": settings})
    boots: list[VirtualBox | Artifact | Checkpoint] = [VirtualBox(base=base), ours, saved]
    for number, boot in enumerate(boots):
        folder = tmp_path / str(number)
        folder.mkdir()
        asked, box = driver(showvminfo=[shown(folder)])
        machine = asked.launch(boot, claim(folder))
        assert box.verbs()[-1] == "startvm"
        assert ("import" in box.verbs()) == (boot is ours)
        assert machine.settings["memory"] == ("1G" if number == 0 else "512M")
    assert copied == [str(tmp_path / "disk.qcow2")] * 2


# ---- images ---------------------------------------------------------------------------------------------------------


def test_an_image_is_captured_kept_found_intact_and_deleted(tmp_path: Path) -> None:
    config = tmp_path / "virtualbox" / "web" / "web.vbox"
    asked, _ = driver(showvminfo=[info(config=str(config))], export=[exporting])
    under = claim(tmp_path)
    image = asked.capture(handle(tmp_path / "m"), "web", under)
    assert asked.intact(image)
    kept = asked.keep(image, "web", under)
    assert kept.path == tmp_path / "web.ova"
    assert not asked.intact(image)
    asked.delete(kept)
    assert not asked.intact(kept)


def test_a_disk_is_written_without_a_clone(tmp_path: Path) -> None:
    def write(call: tuple[str, ...]) -> str:
        Path(call[3]).write_bytes(b"disk")
        return ""

    shown = info(**{"d-0-0": "/a.vdi", "d-ImageUUID-0-0": "u-a"})
    asked, box = driver(showvminfo=[shown], clonemedium=[write])
    image = asked.capture(handle(tmp_path, format="vdi"), "web", claim(tmp_path))
    assert image.format == "vdi"
    assert "clonevm" not in box.verbs()


def test_a_checkpoint_is_a_copy_in_the_cache(tmp_path: Path, copied: list[str]) -> None:
    (tmp_path / "c").mkdir()
    asked, box = driver()
    saved = asked.checkpoint(handle(tmp_path), "k1", tmp_path / "c", claim(tmp_path))
    assert saved is not None
    assert box.verbs() == ["controlvm", "controlvm"]
    assert copied == [str(tmp_path / "disk.vdi")]


def test_what_is_found_can_be_destroyed(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(json.dumps({"run": "r1", "build": "web", "began": 0}), encoding="utf-8")
    config = tmp_path / "virtualbox" / "x" / "x.vbox"
    asked, box = driver(list_vms=[f'"x" {{{UUID}}}\n'], showvminfo=[info("x", config=str(config))])
    (resource,) = asked.find(Where(run="r1"))
    asked.destroy(resource)
    assert ("unregistervm", "u-1", "--delete") in box.asked


def test_every_call_of_a_build_ends_when_the_build_is_cancelled(tmp_path: Path) -> None:
    asked, box = driver()
    mine = replace(claim(tmp_path), ledger=RecordingLedger())
    assert asked._within(mine).cancel is mine.cancel
    assert box.cancel is not mine.cancel
