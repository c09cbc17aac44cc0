"""Recognise a mount that cannot end because the process that serves it is dead, and say how it is lifted.

Captures of earlier versions put qemu-storage-daemon, as a FUSE file system, below an ext4 that the kernel mounted.
Where the daemon was killed first, it waits in its own exit for an answer that only it could give, and `sync` on the
whole host waits with it. Nothing can kill it; aborting the FUSE connection ends the wait.

Looking at a host in that state can hang, too. So this file is also a program: the look is its, and it has a time limit.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bakery.util.process import Process

DAEMON = "qemu-storage-da"
"""What the kernel calls the process: 15 letters of its name."""
EXITING = 0x4
"""The flag PF_EXITING, field 9 of /proc/PID/stat."""
CONNECTIONS = Path("/sys/fs/fuse/connections")
TIMEOUT = 5.0
"""Seconds for a look."""
PAUSE = 0.2
"""Seconds between two looks at a connection: one that works answers meanwhile."""
NEW_MOUNTS = 0x20000
PRIVATE = 1 << 18 | 0x4000
KERNEL_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class StuckMount:
    """Mounts that wait for ever.

    Args:
        daemons: the processes that wait for themselves.
        connections: the numbers of the FUSE connections that they should serve; empty where they cannot be told.
        blocked: other processes that cannot be interrupted, mostly because they wait for the same: `sync (714)`.
    """

    daemons: list[int] = field(default_factory=list[int])
    connections: list[str] = field(default_factory=list[str])
    blocked: list[str] = field(default_factory=list[str])

    @property
    def what(self) -> str:
        """One line."""
        return "a mount of an earlier capture never ends, and whatever calls sync() on this host waits for it"

    @property
    def why(self) -> str:
        """The cause, with the processes."""
        pids = ", ".join(map(str, self.daemons))
        text = f"qemu-storage-daemon ({pids}), which an earlier version of bakery used, was killed and waits for itself"
        return f"{text}; these wait, too: {', '.join(self.blocked)}" if self.blocked else text

    @property
    def hint(self) -> str:
        """The commands that lift it."""
        numbers = self.connections or ["N"]
        lines = [f"echo 1 > {CONNECTIONS}/{number}/abort" for number in numbers]
        if not self.connections:
            lines.append("where N is the folder whose file `waiting` is not 0 although nothing uses it")
        if not _listing(CONNECTIONS):
            lines.insert(0, f"mount -t fusectl fusectl {CONNECTIONS}")
        return "as root: " + "\n".join(lines)


def look(timeout: float = TIMEOUT) -> StuckMount | None:
    """Look for stuck mounts, by a process of its own that is given up where it hangs itself.

    Args:
        timeout: seconds.

    Returns:
        None where there are none.
    """
    if sys.platform != "linux":
        return None
    from bakery.util.process import PIPE, start_process  # the program that this file is does without the package

    told = _collect(start_process([sys.executable, "-I", "-S", __file__], stdout=PIPE), timeout)
    seen: dict[str, list[int] | list[str]] = {}
    for line in told.splitlines():
        with suppress(ValueError):  # the last line of a process that was killed
            seen |= json.loads(line)
    return StuckMount(**seen) if seen.get("daemons") else None  # type: ignore[arg-type]  # what `main` prints


def _collect(process: Process, timeout: float) -> str:
    """Return what a process writes within a time, and never wait for its end: it may have none."""
    assert process.stdout is not None  # noqa: S101  asked for as a pipe
    chunks, until = [], time.monotonic() + timeout
    with process.stdout as pipe:
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        while poller.poll(max(0.0, until - time.monotonic()) * 1000):
            if not (data := os.read(pipe.fileno(), 65536)):
                break
            chunks.append(data)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.2)
    return b"".join(chunks).decode(errors="replace")


def main() -> None:
    """Print what is found as JSON, a line each time when more is known."""
    if not (daemons := list(dead_daemons(Path("/proc")))):
        return
    _say("daemons", daemons)
    _say("blocked", list(blocked(Path("/proc"), daemons)))
    with suppress(OSError):
        folder = _connections()
        _say("connections", list(unserved(folder, Path("/proc"))))


def _say(name: str, value: list[int] | list[str]) -> None:
    sys.stdout.write(json.dumps({name: value}) + "\n")
    sys.stdout.flush()


def dead_daemons(proc: Path) -> Iterator[int]:
    """Yield the storage daemons that are ending, of which a thread cannot be interrupted.

    Args:
        proc: where procfs is mounted. Only files are read that need nothing of the process's memory.
    """
    for pid, name, _ in _processes(proc):
        if name == DAEMON and any(state == "D" and flags & EXITING for state, flags in _threads(proc / str(pid))):
            yield pid


def blocked(proc: Path, daemons: list[int]) -> Iterator[str]:
    """Yield other processes, none of the kernel's, that cannot be interrupted."""
    for pid, name, fields in _processes(proc):
        if fields[0] == "D" and int(fields[1]) != KERNEL_THREADS and pid not in daemons:
            yield f"{name} ({pid})"


def unserved(folder: Path, proc: Path) -> Iterator[str]:
    """Yield the FUSE connections with unanswered requests that are mounted nowhere where somebody could see them.

    Args:
        folder: where fusectl is mounted.
        proc: where procfs is.
    """
    first = {name for name in _listing(folder) if _waiting(folder / name)}
    if not first:
        return
    time.sleep(PAUSE)
    mounted = set(_devices(proc))
    yield from sorted(name for name in first if _waiting(folder / name) and f"0:{name}" not in mounted)


def _processes(proc: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, name and the further fields of proc_pid_stat(5) of each process."""
    for name in _listing(proc):
        if name.isdigit():
            with suppress(OSError):
                yield int(name), *_stat(proc / name / "stat")


def _threads(process: Path) -> Iterator[tuple[str, int]]:
    """Yield state and flags of each thread."""
    for name in _listing(process / "task"):
        with suppress(OSError):
            _, fields = _stat(process / "task" / name / "stat")
            yield fields[0], int(fields[6])


def _stat(file: Path) -> tuple[str, list[str]]:
    text = file.read_text(errors="replace")
    return text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()


def _devices(proc: Path) -> Iterator[str]:
    """Yield the device numbers of all that is mounted in the mount namespaces of living processes."""
    seen = set[str]()
    for pid, _, fields in _processes(proc):
        with suppress(OSError):
            namespace = str((proc / str(pid) / "ns/mnt").readlink())
            if fields[0] in "ZX" or namespace in seen:
                continue
            seen.add(namespace)
            yield from (line.split()[2] for line in (proc / str(pid) / "mountinfo").read_text().splitlines())


def _waiting(connection: Path) -> bool:
    with suppress(OSError, ValueError):
        return int((connection / "waiting").read_text()) > 0
    return False


def _listing(folder: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208  names are all that is wanted
    return []


def _connections() -> Path:
    """Return where fusectl is mounted; where it is not, mount it for this process alone."""
    if not _listing(CONNECTIONS):
        libc = ctypes.CDLL(None, use_errno=True)
        nothing = None
        if libc.unshare(NEW_MOUNTS) or libc.mount(nothing, b"/", nothing, PRIVATE, nothing):
            raise OSError(ctypes.get_errno(), "a mount namespace of our own")
        if libc.mount(b"fusectl", os.fsencode(CONNECTIONS), b"fusectl", 0, nothing):
            raise OSError(ctypes.get_errno(), "fusectl")
    return CONNECTIONS


if __name__ == "__main__":
    main()
