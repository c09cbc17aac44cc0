"""`bake doctor`: what this host can do, what is missing, and which of it is an error."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bakery.build import doctor
from bakery.drivers.registry import Registry
from bakery.errors import DriverError, PreflightError
from bakery.model import Problem, Result
from bakery.testing.folder.driver import FolderDriver
from bakery.util.results import TimedOut
from bakery.util.stuck_mounts import StuckMount

from .conftest import Project

VIRTUALBOX = doctor.PROGRAMS["virtualbox"]


class Ailing(FolderDriver):
    """A driver that says what a test tells it to."""

    name: ClassVar[str] = "ailing"
    problems: ClassVar[list[Problem | Exception]] = []

    def doctor(self, work: object) -> Iterator[Problem]:
        """Say it."""
        del work
        for problem in self.problems:
            if isinstance(problem, Exception):
                raise problem
            yield problem


class Well(FolderDriver):
    """A driver that needs programs, and nothing else."""

    def doctor(self, work: object) -> Iterator[Problem]:
        """Say nothing."""
        del work
        return iter(())


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A host with all programs but those that a test takes away; each says its version."""
    programs = {p.name: f"{p.name} version 7.2.4-3, built today" for group in doctor.PROGRAMS.values() for p in group}
    monkeypatch.setattr(
        shutil, "which", lambda name, path="": name if name in programs and "sbin" not in path else None
    )

    def run(words: list[str], **_: Any) -> Result:
        said = programs[words[0]]
        if said == "hangs":
            raise TimedOut(Result(command="", exited=-1))
        return Result(command="", exited=0, stderr=said)

    monkeypatch.setattr(doctor, "run_process", run)
    # Real drivers ask more of a real host; theirs is looked at in their own rooms.
    monkeypatch.setattr(doctor, "PROGRAMS", {"host": doctor.PROGRAMS["host"], "qemu": doctor.PROGRAMS["qemu"]})
    monkeypatch.setattr(Registry, "names", lambda _: ["folder", "qemu"])
    get = Registry.get
    monkeypatch.setattr(Registry, "get", lambda self, name: Well() if name == "qemu" else get(self, name))
    monkeypatch.setattr("bakery.util.stuck_mounts.look", lambda: None)
    monkeypatch.setattr(Ailing, "problems", [])
    return programs


@pytest.fixture
def ailing(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with another driver."""
    get = Registry.get
    monkeypatch.setattr(Registry, "names", lambda _: ["folder", "qemu", "ailing"])
    monkeypatch.setattr(Registry, "get", lambda self, name: Ailing() if name == "ailing" else get(self, name))
    return project


def found(project: Project, *words: str) -> list[tuple[str, str, str]]:
    data = project.bake("doctor", "--json", *words).data
    assert data["version"] == 1
    return [(finding["about"], finding["state"], finding["text"]) for finding in data["findings"]]


def test_the_host_the_cache_and_every_driver_are_looked_at(project: Project) -> None:
    done = project.bake("doctor")
    assert done.code == 0
    heads = [line for line in done.out.splitlines() if not line.startswith(" ")]
    assert heads == ["host", "cache", "folder", "qemu"]
    assert "✓ qemu-img 7.2.4-3" in done.out


def test_those_that_are_named_are_looked_at_alone(project: Project) -> None:
    assert {about for about, *_ in found(project, "folder")} == {"folder"}


def test_a_driver_that_nobody_installed_is_a_mistake(project: Project) -> None:
    done = project.bake("doctor", "vmware")
    assert done.code == 2
    assert "there is no driver 'vmware'" in done.err
    assert "folder" in done.err


def test_a_program_that_is_missing_is_named_with_its_package(project: Project, host: dict[str, str]) -> None:
    for name in ("qemu-img", "mmdebstrap"):
        del host[name]
    states = {text: state for _, state, text in found(project)}
    assert (states["no qemu-img"], states["no mmdebstrap"]) == ("missing", "warning")
    done = project.bake("doctor")
    assert done.code == 0  # nobody asked for QEMU in particular
    assert (
        "✗ no qemu-img\n      needed for making and converting disks\n      -> apt-get install qemu-utils" in done.out
    )
    assert project.bake("doctor", "qemu").code == 4


def test_a_program_that_no_package_of_debians_stable_release_brings_is_not_said_to_be_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, host: dict[str, str]
) -> None:
    monkeypatch.setattr(doctor, "PROGRAMS", {"host": (), "qemu": VIRTUALBOX})
    del host["VBoxManage"]
    done = project.bake("doctor", "qemu")
    assert done.code == 4
    assert "✓ qemu-img 7.2.4-3" in done.out  # disks are converted by it
    assert "apt-get" not in done.out
    assert "https://www.virtualbox.org/wiki/Downloads" in done.out


def test_a_program_that_does_not_say_its_version_is_there_all_the_same(project: Project, host: dict[str, str]) -> None:
    host["ssh"] = "I say nothing"
    assert ("host", "ok", "ssh") in found(project)


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        (("hangs", 0), "no answer within 20 s"),
        (("loading libzstd.so.1: not found", 127), "loading libzstd.so.1: not found"),
        (("", -11), "exit code -11"),
        (("no such option", 1), "no such option"),
        (("Exec format error", None), "Exec format error"),
    ],
)
def test_a_program_that_is_there_and_does_not_run_has_no_tick(
    project: Project, host: dict[str, str], monkeypatch: pytest.MonkeyPatch, ends: tuple[str, int | None], why: str
) -> None:
    run: Callable[..., Result] = vars(doctor)["run_process"]
    said, exited = ends

    def runs(words: list[str], **more: Any) -> Result:
        if words[0] != "qemu-img" or said == "hangs":
            return run(words, **more)
        if exited is None:
            raise OSError(8, said)
        return Result(command="", exited=exited, stderr=said)

    host["qemu-img"] = said
    monkeypatch.setattr(doctor, "run_process", runs)
    done = project.bake("doctor", "qemu", "--json")
    (finding,) = [finding for finding in done.data["findings"] if "qemu-img" in finding["text"]]
    assert (done.code, finding["state"], finding["text"]) == (4, "missing", "qemu-img does not run")
    assert finding["why"] == f"qemu-img --version: {why}"


def test_nothing_that_is_well_has_a_hint(project: Project) -> None:
    data = project.bake("doctor", "--json").data
    assert [finding for finding in data["findings"] if finding["state"] in ("ok", "info") and finding["hint"]] == []


@pytest.mark.parametrize(
    ("problem", "state", "code"),
    [
        (Problem(what="no login", hint="log in"), "missing", 4),
        (Problem(what="slow", why="emulated", fatal=False), "warning", 0),
        (Problem(what="version 3", fatal=False), "ok", 0),
        (DriverError("no answer"), "missing", 4),
    ],
)
def test_what_a_driver_says_is_told_as_it_weighs(
    ailing: Project, monkeypatch: pytest.MonkeyPatch, problem: Problem | Exception, state: str, code: int
) -> None:
    monkeypatch.setattr(Ailing, "problems", [problem])
    assert found(ailing, "ailing") == [("ailing", state, getattr(problem, "what", ""))]
    assert ailing.bake("doctor", "ailing").code == code


def test_a_driver_without_complaints_is_installed(ailing: Project) -> None:
    ((_, state, text),) = found(ailing, "ailing")
    assert (state, text.split(" ")[0]) == ("info", "installed")  # a tick is for what was tried


@pytest.mark.parametrize(
    ("error", "text"),
    [(PreflightError("pip install it"), "pip install it"), (ImportError("no"), "it cannot be loaded")],
)
def test_a_driver_that_cannot_be_loaded_ends_nothing(
    ailing: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(Registry, "get", broken)
    assert found(ailing, "ailing") == [("ailing", "missing", text)]


@pytest.mark.parametrize(
    ("there", "opens", "state", "words"),
    [
        (False, False, "warning", "no hardware acceleration"),
        (True, False, "warning", "may not be opened by this user"),
        (True, True, "ok", "opens"),
    ],
)
def test_acceleration_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, there: bool, opens: bool, state: str, words: str
) -> None:
    def opened(*_: object, **__: object) -> io.BytesIO:
        if not opens:
            raise PermissionError(13, "Permission denied")
        return io.BytesIO()

    monkeypatch.setattr(Path, "exists", lambda _: there)
    monkeypatch.setattr(Path, "open", opened)
    result = doctor._kvm()
    assert result.state == state
    assert words in result.text


@pytest.mark.parametrize(
    ("free", "writable", "state"), [(50 * 10**9, True, "ok"), (10**9, True, "warning"), (50 * 10**9, False, "missing")]
)
def test_the_cache_needs_room_and_must_be_ours(
    project: Project, monkeypatch: pytest.MonkeyPatch, free: int, writable: bool, state: str
) -> None:
    project.cache.mkdir()
    (project.cache / "file").write_bytes(bytes(range(256)) * 64)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**11, 0, free))
    made = tempfile.TemporaryFile

    def temporary(*given: Any, **named: Any) -> Any:
        if not writable:
            raise OSError(30, "Read-only file system")
        return made(*given, **named)

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
    ((text, told),) = [(text, told) for about, told, text in found(project) if about == "cache"]
    assert told == state
    assert text.startswith(f"{project.cache}: 16.0 KiB used, ")


def test_a_host_on_which_a_mount_never_ends_is_told_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.util.stuck_mounts.look", lambda: StuckMount(daemons=[7], connections=["41"]))
    about, state, text = found(project)[0]
    assert (about, state) == ("host", "missing")
    assert "never ends" in text
