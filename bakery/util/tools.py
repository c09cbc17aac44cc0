"""Other people's programs: run so that a cancelled build ends them, and a failed one repeats their last words."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from bakery.errors import DriverError, NotYet
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

WORDS_KEPT = 15
PASSED = frozenset({"HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "USER", "XDG_RUNTIME_DIR"})
"""What of our environment a program needs to find its files and this user's folders."""
PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
"""The same, in upper case as well: the way to the archive."""
GRACE = 30.0
"""Seconds that a cancelled program has to clean up, before it is killed."""
LINGER = 2.0
"""Seconds until the last words of a program that has ended must be there."""


def root() -> tuple[str, ...]:
    """Return the words in front of a command that must see, and give away, files of many owners.

    None for root. For everybody else: a user namespace over the ids of /etc/subuid, where root is ourselves.
    """
    return () if os.geteuid() == 0 else ("unshare", "--map-root-user", "--map-auto", "--")


def alone() -> tuple[str, ...]:
    """Return the words in front of a command of root's that mounts things: all of it ends when we do, however we end.

    Its mounts and its children live in namespaces of their own, whose first process is killed with this one. Without
    that, a killed build would leave a tree with this host's devices and `/sys` in it. Others than root are in a user
    namespace anyhow.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return ()
    spaces = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    return ("setpriv", "--pdeathsig", "KILL", *spaces)


def dies_with_us(path: str | None = None) -> tuple[str, ...]:
    """Return the words in front of a program that must not go on writing when this process was killed.

    The kernel looks at the thread that started it, which here waits for its end. Linux only: elsewhere none.
    """
    setpriv = shutil.which("setpriv", path=path)
    return () if setpriv is None else (setpriv, "--pdeathsig", "KILL", "--")


def missing(packages: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each program that is not there.

    Args:
        packages: program to the Debian package that has it.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    for program, package in packages.items():
        if shutil.which(program, path=path) is None:
            yield Problem(what=f"{program} is not installed", hint=f"apt install {package}")


def run(
    words: Sequence[str | Path],
    work: WorkContext,
    *,
    what: str,
    timeout: float = 600.0,
    stdin: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    hint: str = "",
) -> bytes:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        words: the program and its arguments; never meets a shell.
        work: can cancel it.
        what: what it is for, for messages: "making the file system".
        timeout: seconds.
        stdin: a file for its standard input.
        env: variables on top of `environment()`.
        on_line: called with each line of standard error as it comes, from another thread.
        hint: what the user can do when it fails.

    Raises:
        DriverError: it is not there, failed, or ran out of time; with its last lines.
        Interrupted: when cancelled; the program and its children are gone by then.
    """
    line = shlex.join(map(str, words))
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    if shutil.which(words[0], path=path) is None:
        raise DriverError(f"{what}: {words[0]} is not installed", why=line, hint=hint)
    with tempfile.TemporaryFile() as out, (stdin or Path(os.devnull)).open("rb") as given:
        process = subprocess.Popen(
            [*dies_with_us(path), *map(str, words)],
            stdin=given,
            stdout=out,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**environment(), "PATH": path, **(env or {})},
        )
        said = _finish(process, work, what, timeout, on_line)
        if process.returncode:
            why = "\n".join((f"{line} ended with exit code {process.returncode}", *said))
            raise DriverError(f"{what} failed", why=why, hint=hint)
        out.seek(0)
        return out.read()


def environment() -> dict[str, str]:
    """Return the environment of a program that writes what ends up in an image: this host's settings do not rule it.

    `TAR_OPTIONS`, `MKE2FS_CONFIG`, `SOURCE_DATE_EPOCH`, `APT_CONFIG` and their like would, and are in no base's key.
    """
    taken = {name: value for name, value in os.environ.items() if name in PASSED or name.lower() in PROXIES}
    return {**taken, "LC_ALL": "C.UTF-8"}


def _finish(
    process: subprocess.Popen[bytes],
    work: WorkContext,
    what: str,
    timeout: float,
    on_line: Callable[[str], None] | None,
) -> Sequence[str]:
    said: deque[str] = deque(maxlen=WORDS_KEPT)
    assert process.stderr is not None  # noqa: S101  it was asked for as a pipe
    reader = threading.Thread(target=_read, args=(process.stderr, said, on_line), daemon=True)
    reader.start()

    def ended() -> None:
        if process.poll() is None:
            raise NotYet(what)

    try:
        until(ended, what=what, timeout=timeout, cancel=work.cancel, every=(0.002, 0.02))
    finally:
        if process.poll() is None:
            _end(process)
    reader.join(LINGER)
    if reader.is_alive():  # a child that outlives its parent, as unshare's does where the kernel refuses it
        _kill_group(process.pid)
        reader.join(LINGER)
    return list(said)


def _read(pipe: IO[bytes], said: deque[str], on_line: Callable[[str], None] | None) -> None:
    with pipe:  # closed by who reads it: another thread would wait for the end of whatever holds its other end
        for raw in pipe:
            line = raw.decode(errors="replace").rstrip()
            said.append(line)
            if on_line is not None:
                on_line(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children: politely first, because some have mounts to undo."""

    def ended() -> None:
        if process.poll() is None:
            raise NotYet("it cleans up")

    try:
        os.killpg(process.pid, signal.SIGTERM)
        until(ended, what="a cancelled program", timeout=GRACE, cancel=Cancel())
    except (DriverError, ProcessLookupError):
        process.kill()
    finally:
        _kill_group(process.pid)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
