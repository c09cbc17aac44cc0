"""QEMU as a process of this host: started, recognised by any process later, watched, ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bakery.errors import DriverError, NotYet
from bakery.util.process import Process, start_process
from bakery.util.waiting import Cancel, until

if TYPE_CHECKING:
    import psutil

SERIAL, LOG, EXIT = "serial.log", "qemu.log", "qemu.exit"
SOCKET = "qmp.sock"
"""Of its monitor. All of these are in the machine's folder."""
GRACE = 5.0
"""Seconds for QEMU to end by itself, before it is killed."""
PATIENCE = 60.0
"""Seconds for what the kernel does by itself, on a very busy host: starting a process, clearing up a dead one."""


def spawn(words: Sequence[str], folder: Path, name: str) -> int:
    """Start QEMU in a machine's folder and return its process id.

    It outlives us: a build that was killed can be resumed, a failed one kept. A thread of ours waits for its end, so
    that it never stays behind as a zombie and its exit code is written down.

    Raises:
        DriverError: it is not installed.
    """
    with (folder / LOG).open("wb") as log:
        try:
            child = start_process(words, cwd=folder, stdout=log, stderr=log)
        except OSError as error:
            raise DriverError(
                f"{words[0]} cannot be started", why=str(error), hint="`bake doctor` says more"
            ) from error
    _recognised(child, name)
    threading.Thread(target=_reap, args=(child, folder / EXIT), name=f"qemu-{child.pid}", daemon=True).start()
    return child.pid


def _recognised(child: Process, name: str) -> None:
    """Wait until the process can be told by its command line: the kernel shows it a moment after it was started."""

    def shown() -> None:
        if child.poll() is None and not alive(name, child.pid):
            raise NotYet("QEMU is being started")

    until(shown, what="the start of QEMU", timeout=PATIENCE, cancel=Cancel(), every=(0.001, 0.05))


def _reap(child: Process, note: Path) -> None:
    code = child.wait()
    with suppress(OSError):  # the folder may be gone by now, and the note with it
        note.write_text(f"{code}\n")


def mark(name: str) -> str:
    """Return the word of QEMU's command line that says whose it is. Process ids are used again, this is not."""
    return f"guest={name}"


def owned() -> Iterator[tuple[str, psutil.Process]]:
    """Yield every QEMU of ours on this host, with its machine's name."""
    import psutil  # slow to import, and where nothing has changed, no machine is asked

    for process in psutil.process_iter():
        name = _name(process)
        if name is not None:
            yield name, process


def find(name: str, pid: int | None = None) -> psutil.Process | None:
    """Find a machine's process.

    Args:
        name: the machine's.
        pid: its process id; all processes are looked at when it is not known.
    """
    import psutil

    if pid is not None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if _name(process) == name:
                return process
        return None
    return next((process for found, process in owned() if found == name), None)


def _name(process: psutil.Process) -> str | None:
    """Return the name of the machine that a process runs; None if it is none of ours, or over."""
    import psutil

    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return None
    if not words or "qemu-system-" not in words[0]:
        return None
    names = (after for before, after in pairwise(words) if before == "-name")
    return next((name.removeprefix("guest=") for name in names if name.startswith("guest=bakery-")), None)


def alive(name: str, pid: int) -> bool:
    """Say whether a machine's process runs; a zombie does not."""
    return find(name, pid) is not None


def last_words(folder: Path) -> str:
    """Why QEMU ended: its exit code, what it said, and the end of the serial console."""
    parts = []
    with suppress(OSError):
        parts.append(f"QEMU ended with exit code {(folder / EXIT).read_text().strip()}")
    for name, title, count in ((LOG, "it said", 6), (SERIAL, "its console ended with", 12)):
        lines = tail(folder / name, count)
        if lines:
            parts.append(f"{title}:\n" + "\n".join(f"  {line}" for line in lines))
    return "\n".join(parts) or "it left no words"


def tail(path: Path, count: int) -> list[str]:
    """Return the last lines of a text that may be long, damaged or absent."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def end(name: str, pid: int | None) -> None:
    """End a machine whose disk is thrown away, and return when it is gone.

    Raises:
        DriverError: it is still there.
    """
    import psutil

    process = find(name, pid)
    if process is None:
        return

    def gone() -> None:
        if find(name, process.pid) is not None:
            raise NotYet("it is still running")

    for order, patience in ((process.terminate, GRACE), (process.kill, PATIENCE)):
        with suppress(psutil.NoSuchProcess):
            order()
        with suppress(DriverError):
            until(gone, what=f"the end of {name}", timeout=patience, cancel=Cancel(), every=(0.01, 0.1))
            return
    raise DriverError(f"the virtual machine {name} does not end", why=f"process {process.pid} survived SIGKILL")
