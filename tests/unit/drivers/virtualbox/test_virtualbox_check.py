"""What would stop a build is seen before anything is made, all of it at once; and `bake doctor` says what there is."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from bakery.disk.bases.base import Base
from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.virtualbox import check
from bakery.drivers.virtualbox.api import sdk
from bakery.drivers.virtualbox.api.errors import ServiceUnreachableError, refusal
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.model import Artifact, Problem
from bakery.util import tools
from tests.unit.drivers.virtualbox.box import Reply, TableBox, info
from tests.unit.drivers.virtualbox.recorded import ANSWERS

OVF = """\
<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/{version}" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/{version}">
  <References><File ovf:id="file1" ovf:href="web-disk001.vmdk"/></References>
</Envelope>
"""
UUID = "10000000-0000-4000-8000-000000000000"


class Unusable(Base):
    """A base with a problem of its own."""

    def check(self) -> Iterator[Problem]:
        yield Problem(what="no archive of packages answers")

    def disk(self, work: Any) -> Any:
        raise AssertionError(work)

    def key(self, work: Any) -> str | None:
        raise AssertionError(work)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A host with 4 GiB, 2 of them free, all programs, and the kernel module."""
    loaded = tmp_path_factory.mktemp("dev") / "vboxdrv"
    loaded.touch()
    monkeypatch.setattr(check, "DEVICE", loaded)
    memory = SimpleNamespace(available=2 << 30, total=4 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(tools, "missing", lambda _: iter(()))


def box(**replies: Reply) -> TableBox:
    """A VirtualBox that has all, but for what the test says of a verb, with `_` for a blank."""
    named: dict[str, list[Reply]] = {name.replace("_", " "): [answer] for name, answer in replies.items()}
    return TableBox(
        replies={
            "--version": [ANSWERS["version"].stdout],
            "list ostypes": [ANSWERS["os_types"].stdout],
            "list systemproperties": [ANSWERS["system_properties"].stdout],
            **named,
        }
    )


def problems(asked: TableBox, base: Any = None, **options: Any) -> list[str]:
    boot = VirtualBox.from_settings(options, base=base)
    return [f"{problem.what}: {problem.why} {problem.hint}" for problem in check.check(asked, boot)]


@pytest.mark.parametrize(
    ("base", "hint"), [("base.ova", "Appliance('base.ova')"), ("golden", "RegisteredMachine(...)")]
)
def test_a_bare_name_is_no_base(base: str, hint: str) -> None:
    (problem,) = problems(box(), base)
    assert f"VirtualBox(base={base!r})" in problem
    assert hint in problem


def test_a_host_with_everything_has_no_problem() -> None:
    assert problems(box()) == []


def test_a_kernel_module_that_is_not_loaded_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "DEVICE", Path("/dev/none"))
    (problem,) = check.check(box(), VirtualBox(base=None))
    assert not problem.fatal
    assert "modprobe vboxdrv" in problem.hint


def test_no_virtualbox_is_said_with_where_to_get_it() -> None:
    (problem,) = problems(TableBox(there=False))
    assert "no VBoxManage on PATH" in problem
    assert "virtualbox.org" in problem


def test_an_older_virtualbox_is_said_with_its_version() -> None:
    (problem,) = problems(box(**{"--version": "6.1.50r161033\n"}))
    assert "VirtualBox 6.1.50 is too old" in problem


def test_a_service_that_cannot_be_reached_is_a_problem_and_no_crash() -> None:
    (problem,) = problems(box(**{"--version": ServiceUnreachableError("VirtualBox did not answer", why="no")}))
    assert problem.startswith("VirtualBox did not answer")


def test_a_type_of_guest_that_virtualbox_does_not_know_is_said() -> None:
    assert problems(box(), os_type="Debian12_64") == []
    (problem,) = problems(box(), os_type="Debain_64")
    assert "'Debain_64'" in problem
    assert "ostypes" in problem


def test_problems_of_the_base_are_among_them() -> None:
    assert problems(box(), Unusable()) == ["no archive of packages answers:  "]


def image(path: Path, form: str = "qcow2", **more: Any) -> Artifact:
    return Artifact(driver="qemu", id=str(path), name="web", format=form, **more)


def test_an_image_that_is_gone_or_was_changed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "web.qcow2"
    (problem,) = problems(box(), image(path))
    assert "the image web is gone or was changed" in problem
    path.write_bytes(b"disk")
    assert problems(box(), image(path)) == []
    (problem,) = problems(box(), image(path, sha256="0" * 64, size=4))
    assert "was changed" in problem


def test_a_disk_that_is_smaller_than_its_base_is_said(tmp_path: Path) -> None:
    path = tmp_path / "web.raw"
    with path.open("wb") as disk:
        disk.truncate(2 << 20)
    (problem,) = problems(box(), image(path, "raw"), disk="1M")
    assert "disk= is 1 MiB, its base 2 MiB" in problem
    assert problems(box(), image(path, "raw"), disk="2M") == []


def test_an_image_of_a_format_that_it_cannot_start_from_is_said(tmp_path: Path) -> None:
    (tmp_path / "web.tar").touch()
    (problem,) = problems(box(), image(tmp_path / "web.tar", "tar"))
    assert "'tar'" in problem


def test_an_appliance_that_is_not_there_is_said(tmp_path: Path) -> None:
    (problem,) = problems(box(), Appliance(str(tmp_path / "web.ova")))
    assert f"{tmp_path / 'web.ova'} is no file" in problem
    assert problems(box(), Appliance("https://example.com/web.ova", "0" * 64)) == []


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_ovf_is_whole_only_with_the_files_that_it_names(tmp_path: Path, version: str) -> None:
    ovf = tmp_path / "web.ovf"
    ovf.write_text(OVF.format(version=version), encoding="utf-8")
    (problem,) = problems(box(), Appliance(str(ovf)))
    assert "web-disk001.vmdk is missing" in problem
    (tmp_path / "web-disk001.vmdk").touch()
    assert problems(box(), Appliance(str(ovf))) == []


def test_an_ovf_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "web.ovf").write_text("<Envelope", encoding="utf-8")
    (problem,) = problems(box(), Appliance(str(tmp_path / "web.ovf")))
    assert "web.ovf cannot be read" in problem


def test_a_registered_machine_is_looked_at() -> None:
    asked = box(list_vms=f'"golden" {{{UUID}}}\n', showvminfo=info("golden", state="running"))
    (problem,) = problems(asked, RegisteredMachine("golden"))
    assert "'golden' is running" in problem


def test_guest_additions_that_this_virtualbox_does_not_bring_are_said() -> None:
    assert problems(box(), guest_additions="attach") == []
    (problem,) = problems(
        box(**{"list systemproperties": "Default Guest Additions ISO:     \n"}), guest_additions="attach"
    )
    assert "virtualbox-guest-additions-iso" in problem


def test_more_memory_than_is_free_is_a_warning_and_more_than_there_is_an_error() -> None:
    for memory, fatal in (("3G", False), ("5G", True)):
        (problem,) = check.check(box(), VirtualBox(base=None, memory=memory))
        assert problem.fatal is fatal
        assert "2048 MiB" in problem.what


# ---- bake doctor ----------------------------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel module's device, which is not there yet."""
    path = tmp_path / "vboxdrv"
    monkeypatch.setattr(check, "DEVICE", path)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    return path


def said(asked: TableBox) -> list[Problem]:
    return list(check.doctor(asked))


def test_doctor_says_that_there_is_no_virtualbox() -> None:
    (line,) = said(TableBox(there=False))
    assert "no VBoxManage" in line.what
    assert not line.fatal


def test_doctor_says_which_there_is_and_how_it_is_asked(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.touch()
    monkeypatch.setattr(sdk, "missing", str)
    first, second = said(box())
    assert first.what == "VirtualBox 7.2.22; bakery changes it through VBoxManage, and looks through pyvbox"
    assert second.what == "VirtualBox's kernel module is loaded"
    monkeypatch.setattr(sdk, "missing", lambda: "vboxapi: not there")
    assert "looks through it too (vboxapi: not there)" in said(box())[0].what


def test_doctor_says_that_the_module_is_missing_and_what_loads_it(device: Path) -> None:
    assert not device.exists()
    line = said(box())[-1]
    assert "not loaded" in line.what
    assert "modprobe vboxdrv" in line.hint
    assert not line.fatal


def test_doctor_says_that_the_device_may_not_be_opened(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    assert "vboxusers" in said(box())[-1].hint


def test_doctor_says_that_virtualbox_does_not_answer(device: Path) -> None:
    assert not device.exists()
    (line,) = said(box(**{"--version": refusal("say its version", "VBoxManage: error: no\n", 1)}))
    assert "did not say its version" in line.what


def test_doctor_does_not_look_for_a_linux_module_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert len(said(box())) == 1
