"""Files on their way to a machine and back: whole, unmixed with chatter, and nothing else touched."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path

import pytest

from bakery import Machine
from bakery.errors import CommandFailed, TaskError
from bakery.testing.sshd import Server
from tests.live.ssh.accounts import Account

pytestmark = pytest.mark.live

NOISE = "echo Welcome; echo Oops >&2; (sleep 0.01; echo late) &\n"


def tree(folder: Path) -> Path:
    """A folder like those that people copy onto `/`."""
    for name in ("bin/tool", "etc/app/app.conf", "tmp/left", "srv/new/deep/x"):
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(name)
    for path in [folder / "tree", *(folder / "tree").rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o640)
    return folder / "tree"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What stands for the machine's `/`: folders with modes of their own, and a link to one."""
    for name, mode in (("usr/bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
        (tmp_path / "far" / name).mkdir(parents=True)
        (tmp_path / "far" / name).chmod(mode)
    (tmp_path / "far" / "bin").symlink_to("usr/bin")
    (tmp_path / "far").chmod(0o711)
    return tmp_path / "far"


def test_a_tree_is_merged_into_what_is_there(machine: Machine, server: Server, root: Path) -> None:
    os.chown(root / "etc", 4711, 4712)
    machine.copy(tree(server.folder), str(root), owner="nobody:daemon")
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr/bin/tool").read_text() == "bin/tool"
    modes = {name: (root / name).stat().st_mode & 0o7777 for name in (".", "usr/bin", "etc", "tmp", "srv", "etc/app")}
    assert modes == {".": 0o711, "usr/bin": 0o755, "etc": 0o755, "tmp": 0o1777, "srv": 0o700, "etc/app": 0o700}
    owners = {name: (root / name).stat()[4:6] for name in ("etc", "srv/new/deep", "tmp/left")}
    assert owners == {"etc": (4711, 4712), "srv/new/deep": (65534, 1), "tmp/left": (65534, 1)}
    assert (root / "tmp/left").stat().st_mode & 0o777 == 0o640
    assert not list(root.rglob(".bakery*"))


@pytest.mark.parametrize("owner", ["nosuchuser", "nobody:nosuchgroup", "nosuchuser:daemon"])
def test_an_owner_that_does_not_exist_is_refused(machine: Machine, server: Server, root: Path, owner: str) -> None:
    with pytest.raises(CommandFailed, match="copy"):
        machine.copy(tree(server.folder), str(root), owner=owner)
    with pytest.raises(CommandFailed, match="put"):
        machine.put(tree(server.folder) / "bin/tool", root, owner=owner)
    assert sorted(path.name for path in root.rglob("*")) == ["bin", "bin", "etc", "tmp", "usr"]


@pytest.mark.parametrize(("owner", "numbers"), [("4711:4712", (4711, 4712)), ("4711", (4711, 0)), ("", (0, 0))])
def test_an_owner_may_be_a_number(
    machine: Machine, server: Server, root: Path, owner: str, numbers: tuple[int, int]
) -> None:
    machine.copy(tree(server.folder), str(root), owner=owner or None)
    assert (root / "srv").stat()[4:6] == numbers


def test_names_that_shells_and_lines_stumble_over_are_merged_too(machine: Machine, server: Server, root: Path) -> None:
    for name in ("a b", "a\nb", "a\\b", "-n", "*", "é", "'"):
        (server.folder / "odd" / name).mkdir(parents=True)
        (server.folder / "odd" / name / "file").write_text(name)
        (root / "real" / name).mkdir(parents=True)
        (root / name).symlink_to(f"real/{name}")
    machine.copy("odd", str(root))
    for name in ("a b", "a\nb", "a\\b", "-n", "*", "é", "'"):
        assert (root / name).is_symlink()
        assert (root / "real" / name / "file").read_text() == name


def test_a_start_file_that_talks_is_not_in_files(account: Account, tmp_path: Path) -> None:
    server = account("/bin/bash", {".bashrc": NOISE}, user="builder", sudoers="builder ALL=(ALL) NOPASSWD: ALL")
    machine = server.machine()
    data = os.urandom(100_000)
    placed = machine.put(io.BytesIO(data), tmp_path / "far")
    assert placed.remote == str(tmp_path / "far")
    assert (tmp_path / "far").read_bytes() == data
    for _ in range(5):  # what a program in the background says at a bad moment is an error, and never in the file
        back = io.BytesIO()
        with suppress(TaskError):
            machine.get(tmp_path / "far", back)
            assert back.getvalue() == data
    assert "Welcome" not in machine.run("echo text", user="builder").stdout


def test_files_without_a_size_come_down_whole(machine: Machine, server: Server) -> None:
    machine.get("/proc/version", "version")
    assert (server.folder / "version").read_text() == Path("/proc/version").read_text()
    machine.get("/sys/kernel/mm/transparent_hugepage/enabled", "enabled")
    assert (server.folder / "enabled").read_text()
    machine.run(f"mkfifo {server.folder}/pipe; (echo through >{server.folder}/pipe) >/dev/null 2>&1 &")
    machine.get(server.folder / "pipe", "out")
    assert (server.folder / "out").read_text() == "through\n"


def test_text_may_be_cut_anywhere(machine: Machine, server: Server) -> None:
    (server.folder / "text").write_text("x" + "é" * 700_000)
    machine.get(server.folder / "text", text := io.StringIO())
    assert text.getvalue() == "x" + "é" * 700_000


def test_what_cannot_be_read_is_said(machine: Machine, server: Server) -> None:
    with pytest.raises(CommandFailed, match="No such file") as raised:
        machine.get(server.folder / "nothing", "here")
    assert raised.value.result.exited == 1
    assert not (server.folder / "here").exists()
