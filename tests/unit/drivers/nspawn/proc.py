"""A process list in a folder, laid out as /proc is (proc(5)), and the signals that were sent to it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.drivers.nspawn import processes

LAUNCHER = ("unshare", "--mount", "--pid", "sh", "/x/nspawn/boot.sh")


class Proc:
    """Processes that tests make and end. `survives` says which of them SIGKILL does not reach."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.signals: list[tuple[int, signal.Signals]] = []
        self.survives: set[int] = set()
        self.on_signal: Callable[[int, signal.Signals], None] = lambda _pid, _number: None
        folder.mkdir()
        (folder / "self").mkdir()
        monkeypatch.setattr(processes, "PROC", folder)
        monkeypatch.setattr(os, "kill", self.kill)

    def add(
        self, pid: int, *words: str, parent: int = 1, started: str = "100", levels: str = "", state: str = "S"
    ) -> int:
        """Start a process; `levels` are its numbers in the PID namespaces below this one."""
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        fields = [state, str(parent), *["0"] * 17, started, "0"]
        (place / "stat").write_text(f"{pid} (name with ) in it) {' '.join(fields)}\n")
        (place / "cmdline").write_text("\0".join([*words, ""]))
        (place / "status").write_text(f"Name:\tx\nNSpid:\t{pid}\t{levels}\n")
        return pid

    def container(self, name: str, *, pid: int = 10, run: str = "r", folder: str = "/c", inner: str = "systemd") -> int:
        """Start a launcher with what is below it, and return its number; process 1 is the number above it but one."""
        args = (name, run, "booted", "lower", "upper", "work", "root", f"{folder}/net", "/cg/a\n/cg/b", inner)
        self.add(pid, *LAUNCHER, *args, levels="")
        self.add(pid + 1, "sh", "/x/nspawn/boot.sh", *args, parent=pid, levels="1")
        self.add(pid + 2, *inner.split(), parent=pid + 1, levels="5\t1")
        self.add(pid + 3, "agetty", parent=pid + 2, levels="6\t2")
        return pid

    def end(self, pid: int) -> None:
        """End a process."""
        shutil.rmtree(self.folder / str(pid), ignore_errors=True)

    def kill(self, pid: int, number: signal.Signals) -> None:
        """Send a signal."""
        if not (self.folder / str(pid)).exists():
            raise ProcessLookupError
        self.signals.append((pid, number))
        if number == signal.SIGKILL and pid not in self.survives:
            self.end(pid)
        elif number == signal.SIGSTOP:
            stat = self.folder / str(pid) / "stat"
            stat.write_text(stat.read_text().replace(") S ", ") T "))
        self.on_signal(pid, number)
