"""The process beside a guest takes the machine's lock, runs QEMU, writes the disks back, and lets go, in that order."""

from __future__ import annotations

import fcntl
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakery.testing.virtualbox import guest_process, session_lock
from tests.unit.testing.virtualbox.test_virtualbox_vdi import BLOCK, write

QEMU = ["qemu-system-x86_64", "-uuid", "u-1"]


class Lock:
    """A process that holds a machine's lock, or cannot get it."""

    def __init__(self, said: bytes, done: list[str]) -> None:
        self.stdout = io.BytesIO(said)
        self.stdin = SimpleNamespace(close=lambda: done.append("let go"))
        self.wait = lambda: done.append("gone")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What happened, in order."""
    order: list[str] = []

    def start(words: list[str], **_: Any) -> Lock:
        order.append(f"lock {words[-1]}")
        return Lock(b"locked\n" if words[-1] == "u-1" else b"", order)

    def run(words: list[str], **_: Any) -> SimpleNamespace:
        assert words == QEMU
        order.append("qemu")
        with (tmp_path / guest_process.ALIVE).open(encoding="utf-8") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raw = tmp_path / "disk.raw"
        if raw.exists():
            raw.write_bytes(b"new".ljust(raw.stat().st_size, b"\0"))
        return SimpleNamespace(returncode=7)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "run", run)
    return order


def plan(folder: Path, uuid: str, disks: list[dict[str, Any]]) -> None:
    words = {"lock": ["lock", uuid], "qemu": QEMU, "disks": disks}
    (folder / guest_process.WORDS).write_text(json.dumps(words), encoding="utf-8")


def test_what_the_guest_wrote_is_in_the_disk_before_the_lock_is_let_go(tmp_path: Path, done: list[str]) -> None:
    base = write(tmp_path / "base.vdi", {0: b"a" * BLOCK, 1: b"b" * BLOCK}, kind=1)
    top = write(tmp_path / "top.vdi", {}, kind=4)
    plan(tmp_path, "u-1", [{"raw": str(tmp_path / "disk.raw"), "chain": [str(top), str(base)]}])
    guest_process.main(tmp_path)
    assert done == ["lock u-1", "qemu", "let go", "gone"]
    assert b"new" in top.read_bytes()
    assert b"new" not in base.read_bytes()
    assert not (tmp_path / "disk.raw").exists()
    assert (tmp_path / guest_process.EXIT).read_text(encoding="utf-8") == "7"


def test_a_machine_that_somebody_else_has_is_not_started(tmp_path: Path, done: list[str]) -> None:
    plan(tmp_path, "u-2", [])
    guest_process.main(tmp_path)
    assert done == ["lock u-2"]
    assert "lock cannot be had" in (tmp_path / guest_process.EXIT).read_text(encoding="utf-8")


def test_the_lock_is_a_session_that_lasts_until_its_input_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    class Manager:
        """VirtualBox's own manager, as its SDK has it."""

        def __init__(self, *_: Any) -> None:
            pass

        def getVirtualBox(self) -> SimpleNamespace:  # noqa: N802  the SDK's name
            return SimpleNamespace(findMachine=lambda uuid: f"machine {uuid}")

        def openMachineSession(self, machine: str, *, fPermitSharing: bool) -> str:  # noqa: N802, N803  the same
            done.append(f"open {machine} {fPermitSharing}")
            return "session"

        def closeMachineSession(self, session: str) -> None:  # noqa: N802  the same
            done.append(f"close {session}")

    monkeypatch.setitem(sys.modules, "vboxapi", SimpleNamespace(VirtualBoxManager=Manager))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(read=lambda: done.append("waited")))
    session_lock.main("u-1")
    assert done == ["open machine u-1 False", "waited", "close session"]
    assert capsys.readouterr().out == "locked\n"
