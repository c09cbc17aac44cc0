"""Which of a host's processes and FUSE connections make a mount that never ends, told from files as procfs has them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.util import stuck_mounts
from bakery.util.stuck_mounts import StuckMount, blocked, dead_daemons, unserved
from tests.unit.programs import Acts, Programs, Started, says

SLEEPS, EXITS = 0x400040, 0x40010C


def process(proc: Path, pid: int, name: str, *threads: tuple[str, int], parent: int = 1, dev: str = "") -> None:
    """Write a process's files; the first thread is the main one."""
    for number, (state, flags) in enumerate(threads):
        folder = proc / str(pid) / "task" / str(pid + number)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{pid + number} ({name}) {state} {parent} 1 1 0 -1 {flags} 0 0\n")
    (proc / str(pid) / "stat").write_text((proc / str(pid) / "task" / str(pid) / "stat").read_text())
    (proc / str(pid) / "ns").mkdir()
    (proc / str(pid) / "ns/mnt").symlink_to(f"mnt:[{pid}]")
    (proc / str(pid) / "mountinfo").write_text(f"30 1 {dev} / /x rw - fuse /dev/fuse rw\n" if dev else "")


def connection(folder: Path, name: str, waiting: int) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "waiting").write_text(f"{waiting}\n")


def test_a_storage_daemon_is_dead_when_a_thread_waits_in_its_exit(tmp_path: Path) -> None:
    """As it was seen: the main thread is a zombie, and another one waits for the FUSE server that it was itself."""
    process(tmp_path, 100, "qemu-storage-da", ("Z", EXITS), ("D", EXITS))
    process(tmp_path, 200, "qemu-storage-da", ("S", SLEEPS), ("D", SLEEPS))  # at work
    process(tmp_path, 300, "dpkg) D (x", ("D", SLEEPS))
    process(tmp_path, 400, "kworker/0:1", ("D", 0x4208060), parent=2)
    assert list(dead_daemons(tmp_path)) == [100]
    assert list(blocked(tmp_path, [100])) == ["dpkg) D (x (300)"]


def test_only_a_connection_that_waits_and_that_nobody_sees_is_to_be_aborted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck_mounts, "PAUSE", 0.0)
    proc, folder = tmp_path / "proc", tmp_path / "connections"
    process(proc, 100, "sshfs", ("S", SLEEPS), dev="0:55")
    connection(folder, "41", 2)
    connection(folder, "42", 0)
    connection(folder, "55", 1)
    assert list(unserved(folder, proc)) == ["41"]


def test_the_hint_is_the_commands_that_lift_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stuck_mounts, "CONNECTIONS", tmp_path)
    stuck = StuckMount(daemons=[7], connections=["41"], blocked=["sync (9)"])
    assert stuck.hint == f"as root: mount -t fusectl fusectl {tmp_path}\necho 1 > {tmp_path}/41/abort"
    assert "sync (9)" in stuck.why
    connection(tmp_path, "41", 1)
    assert stuck.hint == f"as root: echo 1 > {tmp_path}/41/abort"
    assert "`waiting` is not 0" in StuckMount(daemons=[7]).hint


# ---- the look --------------------------------------------------------------------------------------------------------


def looked(monkeypatch: pytest.MonkeyPatch, act: Acts, timeout: float = 5.0) -> tuple[StuckMount | None, Programs]:
    programs = Programs.install(monkeypatch, **{sys.executable: act})
    return stuck_mounts.look(timeout), programs


def test_a_host_without_such_daemons_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found, programs = looked(monkeypatch, says())
    assert found is None
    assert programs.started[0].words == [sys.executable, "-I", "-S", stuck_mounts.__file__]


def test_all_that_the_look_tells_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = looked(
        monkeypatch, says(b'{"daemons": [7]}\n{"blocked": ["sync (9)"]}\n{"connections": ["41"]}\n', code=0)
    )
    assert found == StuckMount(daemons=[7], blocked=["sync (9)"], connections=["41"])


def test_a_look_that_hangs_itself_is_given_up_and_what_it_told_before_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(program: Started) -> int:
        program.out(b'{"daemons": [7]}\n{"blo')
        return program.hang()

    found, programs = looked(monkeypatch, hangs, timeout=0.05)
    assert found == StuckMount(daemons=[7])
    assert programs.started[0].ended.is_set()


def test_elsewhere_than_on_linux_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    found, programs = looked(monkeypatch, says())
    assert (found, programs.started) == (None, [])


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a dead daemon and its connection, as the program looks at it."""
    process(tmp_path / "proc", 100, "qemu-storage-da", ("Z", EXITS), ("D", EXITS))
    process(tmp_path / "proc", 300, "sync", ("D", SLEEPS))
    connection(tmp_path / "connections", "41", 2)
    real = Path

    def elsewhere(name: str | Path) -> Path:
        return tmp_path / "proc" if str(name) == "/proc" else real(name)

    monkeypatch.setattr(stuck_mounts, "Path", elsewhere)
    monkeypatch.setattr(stuck_mounts, "CONNECTIONS", tmp_path / "connections")
    monkeypatch.setattr(stuck_mounts, "PAUSE", 0.0)
    return tmp_path


def test_the_program_tells_a_line_each_time_when_more_is_known(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stuck_mounts.main()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"daemons": [100]},
        {"blocked": ["sync (300)"]},
        {"connections": ["41"]},
    ]


def test_it_says_nothing_of_a_host_that_is_well(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in (host / "proc/100/task").iterdir():
        (task / "stat").write_text((task / "stat").read_text().replace(") D", ") S"))
    stuck_mounts.main()
    assert capsys.readouterr().out == ""


@dataclass
class Libc:
    """The C library: what it was asked, and which calls fail."""

    fails: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def __call__(self, *_: object, **__: object) -> Libc:
        return self

    def unshare(self, flags: int) -> int:
        """Make namespaces."""
        self.asked.append(("unshare", hex(flags)))
        return int(self.fails == "unshare")

    def mount(self, _source: object, target: bytes, kind: bytes | None, _flags: int, _data: object) -> int:
        """Mount."""
        self.asked.append(("mount", target.decode(), (kind or b"").decode()))
        return int(self.fails == (kind or b"").decode())


@pytest.mark.parametrize(("fails", "known"), [("none", True), ("unshare", False), ("fusectl", False)])
def test_where_fusectl_is_not_mounted_it_is_for_the_program_alone(
    host: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fails: str, known: bool
) -> None:
    connections = host / "connections"
    connections.rename(host / "aside")
    libc = Libc(fails)
    monkeypatch.setattr("ctypes.CDLL", libc)
    mount = libc.mount

    def mounts(*given: Any) -> int:
        if given[2] == b"fusectl" and fails != "fusectl":
            (host / "aside").rename(connections)
        return mount(*given)

    monkeypatch.setattr(libc, "mount", mounts)
    stuck_mounts.main()
    told = capsys.readouterr().out
    assert ('{"connections": ["41"]}' in told) is known
    assert '{"blocked": ["sync (300)"]}' in told  # what is known without it is told
    assert libc.asked[0] == ("unshare", "0x20000")
