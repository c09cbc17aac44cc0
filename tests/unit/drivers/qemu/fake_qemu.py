"""QEMU in memory: a process that can be found by its words, and a monitor that answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from bakery.drivers.qemu import checkpoints, driver, power, screen
from bakery.drivers.qemu.monitor import QmpError
from bakery.errors import NotYet
from bakery.model import Artifact
from tests.unit.fake_tools import qcow2

TABLE = "  TCP[HOST_FORWARD]  14       127.0.0.1 46217       10.0.2.15    22     0     0\r\n"


@dataclass
class FakeQemu:
    """One QEMU. `answers` has what it says to a question, or a function of the question's arguments."""

    folder: Path
    name: str = "bakery-r-1"
    pid: int = 4711
    is_alive: bool = True
    is_deaf: bool = False
    status: str = "running"
    survives: list[str] = field(default_factory=list[str])
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    orders: list[str] = field(default_factory=list[str])
    connections: int = 0

    @property
    def questions(self) -> list[str]:
        """The commands that came, without their arguments."""
        return [command for command, _ in self.asked]

    # ---- the process ----------------------------------------------------------------------------------------

    def cmdline(self) -> list[str]:
        """The words that it was started with."""
        self._must_be_there()
        return ["/usr/bin/qemu-system-x86_64", "-name", f"guest={self.name}", "-m", "1024M"]

    def cwd(self) -> str:
        """Where it runs."""
        self._must_be_there()
        return str(self.folder)

    def terminate(self) -> None:
        """SIGTERM."""
        self._end("terminate")

    def kill(self) -> None:
        """SIGKILL."""
        self._end("kill")

    def _end(self, order: str) -> None:
        self._must_be_there()
        self.orders.append(order)
        self.is_alive = order in self.survives

    def _must_be_there(self) -> None:
        if not self.is_alive:
            raise psutil.NoSuchProcess(self.pid)

    # ---- the monitor ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Connect."""
        if not self.is_alive or self.is_deaf:
            raise NotYet("QEMU starts; its monitor does not answer yet")
        self.connections += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""

    def ask(self, command: str, **arguments: Any) -> Any:
        """Answer."""
        if not self.is_alive:
            raise NotYet(f"QEMU did not answer {command}")
        self.asked.append((command, arguments))
        given = self.answers.get(command)
        if given is None and hasattr(self, "_" + command.replace("-", "_")):
            given = getattr(self, "_" + command.replace("-", "_"))
        answer = given(**arguments) if callable(given) else given
        if isinstance(answer, Exception):
            raise answer
        return answer

    def refuse(self, command: str, why: str) -> None:
        """Say no from now on."""
        self.answers[command] = QmpError(f"QEMU refused {command}", why=why)

    def _query_status(self) -> dict[str, str]:
        return {"status": self.status}

    def _query_version(self) -> dict[str, Any]:
        return {"qemu": {"major": 7, "minor": 2, "micro": 1}, "package": "Debian"}

    def _human_monitor_command(self, command_line: str) -> str:
        return TABLE if command_line == "info usernet" else ""

    def _system_powerdown(self) -> None:
        self.status = "shutdown"

    def _quit(self) -> None:
        self.is_alive = False

    def _stop(self) -> None:
        self.status = "paused"

    def _cont(self) -> None:
        self.status = "running"


def install(monkeypatch: pytest.MonkeyPatch, *running: FakeQemu) -> list[FakeQemu]:
    """Have these processes on this host, and no other; more can be added to the list."""
    here = [*running]

    def process(pid: int) -> FakeQemu:
        for qemu in here:
            if qemu.pid == pid and qemu.is_alive:
                return qemu
        raise psutil.NoSuchProcess(pid)

    def processes() -> Iterator[FakeQemu]:
        yield from here

    def monitor(folder: Path, **_: Any) -> FakeQemu:
        for qemu in here:
            if qemu.folder == folder:
                return qemu
        return FakeQemu(folder, is_alive=False)

    monkeypatch.setattr(psutil, "Process", process)
    monkeypatch.setattr(psutil, "process_iter", processes)
    for module in (power, checkpoints, driver, screen):
        monkeypatch.setattr(module, "Monitor", monitor)
    return here


class FakePopen:
    """A child process: started, and ended when the test says."""

    def __init__(self, here: list[FakeQemu], started: list[list[str]], code: int | None = None) -> None:
        self._here = here
        self._started = started
        self.code = code
        self.pid = 0

    def __call__(self, words: list[str], *, cwd: Path, **_: Any) -> Self:
        """Start it: where it is to live, it can be found from now on."""
        self._started.append(words)
        self.pid = 5000 + len(self._started)
        if self.code is None:
            name = words[words.index("-name") + 1].removeprefix("guest=")
            self._here.append(FakeQemu(Path(cwd), name=name, pid=self.pid))
        return self

    def poll(self) -> int | None:
        """Say how it ended."""
        return self.code

    def wait(self) -> int:
        """Wait for its end; none of these ever ends by itself."""
        return self.code or 0


def image(path: Path, **values: Any) -> Artifact:
    """Return an image of 1 GiB that QEMU can boot."""
    path.write_bytes(qcow2(1 << 30))
    settings = {"accel": "tcg", "login": "credentials", **values.pop("settings", {})}
    return Artifact(
        **{"driver": "qemu", "id": str(path), "name": "base", "format": "qcow2", "settings": settings, **values}
    )
