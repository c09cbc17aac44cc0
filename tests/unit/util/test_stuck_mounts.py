"""Which of a host's processes and FUSE connections make a mount that never ends, told from files as procfs has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.util import stuck_mounts
from bakery.util.stuck_mounts import StuckMount, blocked, dead_daemons, unserved

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
