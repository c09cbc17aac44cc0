"""A terminal inside a container for a person who sits at one here: with a name there, and with job control."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bakery.util.process import Process, start_process, wait_awake, wake

POLL: Final = 0.1
"""Seconds between two looks at the size of the terminal here, and at whether the program has ended."""
CHUNK: Final = 1 << 16
UNLOCK: Final = 0x40045431
PEER: Final = 0x5441
"""Linux's TIOCSPTLCK and TIOCGPTPEER, which Python's termios does not have."""
LEADER: Final = 'command -v setsid >/dev/null && exec setsid -c "$0" "$@"; exec "$0" "$@"'
"""Makes what follows the leader of a session: only inside can it be one of those that the container sees."""


def run_inside(argv: Sequence[str], pid: int, *, env: Mapping[str, str], umask: int) -> int | None:
    """Run a program on a new terminal of a container, joined to this process's own, and return its exit code.

    Args:
        argv: program and arguments; they enter the container and make the program a session's leader, see `LEADER`.
        pid: the container's leader.
        env: the program's whole environment.
        umask: its umask.

    Returns:
        The exit code; None where nothing was run: the container has no terminals, or there is none here.

    Raises:
        OSError: the program cannot be started.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        ours, theirs = _open(Path(f"/proc/{pid}/root/dev/pts/ptmx"))
    except OSError:
        return None
    try:
        _resize(ours, sys.stdout.fileno())
        process = start_process(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env, umask=umask)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    try:
        tty.setraw(sys.stdin.fileno())
        return _join(ours, process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(ours)


def _open(ptmx: Path) -> tuple[int, int]:
    """Make a terminal and return both of its ends: ours, and the program's, which the container knows by its name."""
    ours = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(ours, UNLOCK, struct.pack("i", 0))
        return ours, fcntl.ioctl(ours, PEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(ours)
        raise


def _join(ours: int, process: Process) -> int:
    """Carry what is typed in and what is written out, until the program has ended and all is written."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    sources, typed = [ours, stdin], b""
    while True:
        wanted = sources if not typed else [ours]
        readable, writable, _ = select.select(wanted, [ours] if typed else [], [], POLL)
        if ours in readable and not _show(ours, stdout):
            break
        if stdin in readable and not (typed := os.read(stdin, CHUNK)):
            sources = [ours]
        if writable:
            typed = typed[os.write(ours, typed[:512]) :]
        wake(process)
        if not readable and process.poll() is not None:
            break  # what it left in the background may keep the terminal open
        _resize(ours, stdout)
    return wait_awake(process)


def _show(ours: int, stdout: int) -> bool:
    """Write what the program wrote, and say whether there may be more of it."""
    try:
        data = os.read(ours, CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:  # nobody has the other end open
            return False
        raise
    while data:
        data = data[os.write(stdout, data) :]
    return True


def _resize(ours: int, stdout: int) -> None:
    """Give the terminal inside the size of that here; where it changes, the kernel tells the program."""
    with suppress(OSError):
        columns, lines = os.get_terminal_size(stdout)
        wanted = struct.pack("HHHH", lines, columns, 0, 0)
        if fcntl.ioctl(ours, termios.TIOCGWINSZ, bytes(8))[:4] != wanted[:4]:
            fcntl.ioctl(ours, termios.TIOCSWINSZ, wanted)
