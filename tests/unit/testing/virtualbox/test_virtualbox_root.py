"""VirtualBox in a folder is made once and whole; each home has a registry, a service and a stand-in of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from bakery.testing.virtualbox import root
from bakery.testing.virtualbox.root import NEEDED, Home
from bakery.util.context import WorkContext


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that were run; mmdebstrap makes what it is to make."""
    calls: list[list[str]] = []

    def note(words: Sequence[str | Path]) -> None:
        calls.append([str(word) for word in words])
        if words[0] == "mmdebstrap":
            fill(Path(words[-1]))

    def tool(words: Sequence[str | Path], work: WorkContext, **_: Any) -> bytes:
        note(words)
        return b""

    def real(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        note(words)
        return subprocess.CompletedProcess(words, 0, "said", "")

    monkeypatch.setattr(root, "run", tool)
    monkeypatch.setattr(subprocess, "run", real)
    return calls


def fill(folder: Path, *names: str) -> None:
    for name in names or NEEDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_made_under_another_name_and_only_then_gets_its_own(tmp_path: Path, ran: list[list[str]]) -> None:
    folder = tmp_path / "deep" / "virtualbox"
    assert root.make(folder) == folder
    assert all((folder / name).exists() for name in NEEDED)
    made = next(words for words in ran if words[0] == "mmdebstrap")
    assert made[-2:] == ["sid", f"{folder}.part"]
    assert {"--components=main,contrib,non-free", "--variant=minbase"} <= set(made)


def test_a_folder_that_is_whole_is_left_as_it_is(tmp_path: Path, ran: list[list[str]]) -> None:
    fill(tmp_path / "virtualbox")
    root.make(tmp_path / "virtualbox")
    assert ran == []


@pytest.mark.parametrize("name", NEEDED)
def test_a_folder_that_lacks_something_is_made_anew(tmp_path: Path, ran: list[list[str]], name: str) -> None:
    folder = tmp_path / "virtualbox"
    fill(folder, name)
    with pytest.raises(OSError, match="not empty"):
        root.make(folder)  # in the test `rm` only notes what it was to delete
    assert ran[0] == ["rm", "-rf", f"{folder}.part", str(folder)]


def test_a_program_sees_the_folders_libraries_and_our_files(tmp_path: Path) -> None:
    *enter, folder, program, word = root.words(tmp_path, "/usr/bin/VBoxManage", "list")
    assert enter[:2] == ["unshare", "--mount"]
    assert 'mount --bind "$0/usr" /usr' in enter[-1]
    assert (folder, program, word) == (str(tmp_path), "/usr/bin/VBoxManage", "list")


# ---- homes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "root", path=tmp_path)


def test_two_homes_have_services_of_their_own(tmp_path: Path) -> None:
    environs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        environs.append(Home(root=tmp_path, path=tmp_path / name).environ)
    assert len({environ["VBOX_IPC_SOCKETID"] for environ in environs}) == 2
    assert len({environ["VBOX_USER_HOME"] for environ in environs}) == 2


def test_the_stand_in_is_the_first_vboxmanage_on_path(home: Home) -> None:
    home.install()
    command = home.path / "bin" / "VBoxManage"
    assert home.environ["PATH"].startswith(f"{command.parent}:")
    assert command.stat().st_mode & 0o100
    text = command.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n")
    assert f"exec {sys.executable} -m bakery.testing.virtualbox.startvm_stand_in" in text
    assert text.rstrip().endswith(f'{home.root} /usr/bin/VBoxManage "$@"')


def test_the_real_one_is_asked_past_the_stand_in(home: Home, ran: list[list[str]]) -> None:
    assert home.real("list", "vms").stdout == "said"
    assert ran[0][-3:] == ["/usr/bin/VBoxManage", "list", "vms"]


class Process:
    """A process of this host, as psutil shows it."""

    def __init__(self, name: str, home: str = "", *, gone: bool = False) -> None:
        self._name, self._home, self._gone = name, home, gone
        self.ended = False

    def name(self) -> str:
        return self._name

    def environ(self) -> dict[str, str]:
        if self._gone:
            raise psutil.AccessDenied(1)
        return {"VBOX_USER_HOME": self._home}

    def terminate(self) -> None:
        self.ended = True


def test_only_the_services_of_a_home_are_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [Process("VBoxSVC", str(home.path)), Process("VBoxXPCOMIPCD", str(home.path))]
    others = [
        Process("VBoxSVC", "/another/home"),
        Process("vi", str(home.path)),
        Process("VBoxSVC", str(home.path), gone=True),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda: [*ours, *others])
    waited: list[Any] = []
    monkeypatch.setattr(psutil, "wait_procs", lambda processes, timeout: waited.extend([*processes, timeout]))
    home.end()
    assert [process.ended for process in (*ours, *others)] == [True, True, False, False, False]
    assert waited == [*ours, 10]
