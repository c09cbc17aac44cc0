"""A guest that is this host: the files and programs of guest operations, without a vCenter and without a machine.

It does what vSphere's documentation says of the calls, a file that is seen before it is whole included.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bakery.drivers.vsphere.guest.guest import GuestAway, GuestFolderGone
from bakery.drivers.vsphere.guest.transport import GuestTransport
from bakery.model import Endpoint
from bakery.util.waiting import Cancel

WAY = f"{__name__}:open_host"


def remove(folder: str) -> None:
    """Remove a folder, also while something writes into it."""
    while Path(folder).exists():
        shutil.rmtree(folder, ignore_errors=True)


def command_lines() -> list[str]:
    """The command lines of all programs of this host."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:
            continue
    return found


@dataclass
class HostGuest:
    """This host as a guest.

    Args:
        place: where folders of ours may lie.
        shell: what `/bin/sh` is for the supervisor.
        away: how many more calls find nobody.
        calls: the names of all calls so far.
    """

    place: Path
    shell: tuple[str, ...] = ("/bin/sh",)
    away: int = 0
    calls: list[str] = field(default_factory=list[str])
    closed: bool = False
    _lock: Any = field(default_factory=threading.Lock)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    known: ClassVar[dict[str, HostGuest]] = {}

    def _note(self, name: str) -> None:
        with self._lock:
            self.calls.append(name)
            if self.away:
                self.away -= 1
                raise GuestAway("nobody answers")

    def make_folder(self) -> str:
        self._note("make_folder")
        return tempfile.mkdtemp(prefix="bakery-", dir=self.place)

    def remove_folder(self, path: str) -> None:
        self._note("remove_folder")
        remove(path)

    def sizes(self, folder: str, number: int) -> Mapping[str, int]:
        self._note("sizes")
        found: dict[str, int] = {}
        try:
            for name in os.listdir(folder):  # noqa: PTH208  names first, then sizes, as Tools do
                try:
                    if name.startswith(f"{number}."):
                        found[name] = Path(folder, name).stat().st_size
                except FileNotFoundError:
                    continue
        except FileNotFoundError as error:
            raise GuestFolderGone(folder) from error
        return found

    def upload(self, path: str, data: bytes) -> None:
        self._note("upload")
        try:
            with Path(path).open("wb") as file:
                for start in range(0, len(data), 1 << 20):
                    file.write(data[start : start + (1 << 20)])
                    file.flush()
        except FileNotFoundError as error:
            raise GuestFolderGone(path) from error

    def download(self, path: str) -> bytes:
        self._note("download")
        try:
            return Path(path).read_bytes()
        except FileNotFoundError as error:
            raise GuestFolderGone(path) from error

    def rename(self, path: str, name: str) -> None:
        self._note("rename")
        try:
            Path(path).rename(name)
        except FileNotFoundError as error:
            raise GuestFolderGone(path) from error

    def delete(self, path: str) -> None:
        self._note("delete")
        Path(path).unlink(missing_ok=True)

    def start(self, program: str, arguments: str) -> int:
        self._note("start")
        words = [*(self.shell if program == "/bin/sh" else (program,)), *shlex.split(arguments)]
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )
        self._started.append(process)
        return process.pid

    def runs(self, words: str) -> bool:
        self._note("runs")
        for process in self._started:
            process.poll()
        return any(words in f"{line} " for line in command_lines())

    def terminate(self, pid: int) -> None:
        self._note("terminate")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def round_trip(self) -> float:
        return 0.001

    def close(self) -> None:
        self.closed = True
        for process in self._started:
            process.poll()

    @property
    def supervisors(self) -> list[int]:
        """The process ids of supervisors that run."""
        return [process.pid for process in self._started if process.poll() is None]


def open_host(endpoint: Endpoint, cancel: Cancel) -> GuestTransport:
    """Open the way to a guest that is known by its host name."""
    return GuestTransport(HostGuest.known[endpoint.host], endpoint.user, cancel)
