"""A way into a container on this host: its namespaces, entered by `nsenter`. No network, no SSH server, no keys."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Final, cast

from bakery.errors import ConnectError
from bakery.machine.transport.base import ShellProgram, Transport
from bakery.machine.transport.frame import Frame
from bakery.model import Endpoint, Result, Stream
from bakery.util import process_attributes
from bakery.util.process import PIPE, POLL, ready, run_process, start_process, wait, wake
from bakery.util.results import Lost, OnOutput
from bakery.util.streams import CHUNK
from bakery.util.waiting import Cancel

ROOTED: Final = 2.0
"""Seconds that a container's leader has to enter its root folder."""
KILLED: Final = 128 + 9
DYING: Final = 0.5
"""Seconds between the end of a container's programs and that of its leader."""
SHUTDOWN: Final = 20.0
"""Seconds from systemd's signal to all that still runs until its container has ended; it waits 10 for them itself."""
ENDING: Final = 0.5
"""Seconds that a shell has to end once its input has."""
ENVIRONMENT: Final = (
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/sh"),
)
"""What sshd gives to root, so that a task sees the same over both transports; `SHELL` is the one of /etc/passwd."""


class NamespaceTransport(Transport):
    """Runs commands inside the namespaces of a process, as root there.

    All of the process's namespaces are entered, the user namespace of a rootless container included, and its root
    folder. What runs keeps this host's cgroup.

    Args:
        endpoint: `data["pid"]` is the container's leader as this host sees it; `data["start"]`, when given, is its
            start time (field 22 of `/proc/PID/stat`), so that a recycled process id is not mistaken for it. It must
            have entered its own root folder already: until then, that is this host's.
        cancel: ends commands.

    Raises:
        ConnectError: there is no such process, or `nsenter` is missing.
    """

    def __init__(self, endpoint: Endpoint, cancel: Cancel) -> None:
        self._pid = int(endpoint.data["pid"])
        self._cancel = cancel
        self._start = start_time(self._pid)
        wanted = endpoint.data.get("start")
        if self._start is None or (wanted is not None and int(wanted) != self._start):
            raise ConnectError(f"the container's leader, process {self._pid}, is gone")
        self._must_have_a_root_of_its_own()

    def _must_have_a_root_of_its_own(self) -> None:
        """Never run a task's commands in this host's root folder, whatever a driver or a race says.

        Raises:
            ConnectError: the leader's root folder is this host's.
        """
        deadline = time.monotonic() + ROOTED
        while _same(f"/proc/{self._pid}/root/.", "/"):
            if time.monotonic() > deadline:
                raise ConnectError(
                    f"process {self._pid} has this host's root folder",
                    why="commands would run on this host and not in a container, so it is not entered",
                )
            self._cancel.sleep(ROOTED / 40)

    @property
    def user(self) -> str:
        """Root of the container."""
        return "root"

    @property
    def alive(self) -> bool:
        """True while the leader is the process that it was."""
        return self._start is not None and start_time(self._pid) == self._start

    def run(
        self,
        command: str,
        *,
        input: bytes | IO[bytes] | None = None,  # noqa: A002  as in the base class
        timeout: float | None = None,
        on_output: OnOutput | None = None,
        collect: bool = True,
    ) -> Result:
        """Run a command line with the container's `sh`; see the base class."""
        self._require()
        frame = Frame()
        try:
            result = run_process(
                self._argv(frame, command),
                cancel=self._cancel,
                command=command,
                env=environment(self._pid),
                cwd=Path("/"),
                input=input,
                timeout=timeout,
                on_output=on_output,
                collect=collect,
                umask=process_attributes.UMASK,
                frame=frame,
            )
        except FileNotFoundError as error:
            raise ConnectError(
                "nsenter is missing on this host", why=str(error), hint="apt-get install util-linux"
            ) from error
        if result.failed or not frame.proven:
            self._require(patience=self._patience(result))
        if not frame.proven:
            raise _no_shell(frame)
        if frame.exited is None and result.ok:  # our shell was ended before it could tell
            return replace(result, exited=KILLED)
        return result

    def open_shell(self, timeout: float = 60.0, *, as_root: bool = True) -> ShellProgram:
        """Start a shell, always as root: nobody logs in; see the base class."""
        del as_root
        self._require()
        frame = Frame("shell")
        shell = ShellProcess(self._argv(frame), frame, environment(self._pid))
        try:
            shell.begin(timeout, self._cancel)
        except ConnectError:
            self._require(patience=DYING)  # perhaps nothing is wrong with it, and the container is gone
            raise
        return shell

    def end_leftovers(self) -> None:
        """End commands of an earlier process; see the base class. Each is a process group of this host."""
        ours = [b"nsenter", b"--target", str(self._pid).encode()]
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended, or is another user's
                if (process / "cmdline").read_bytes().split(b"\0")[:3] == ours:
                    os.killpg(int(process.name), signal.SIGKILL)

    def close(self) -> None:
        """Do nothing: between two commands nothing stays open."""
        self._start = None

    def _argv(self, frame: Frame, command: str = "") -> list[str]:
        return entering(self._pid, *frame.words(command)[1:])

    def _patience(self, failed: Result) -> float:
        """Return for how many seconds the container may still seem to live, which a failed command may have ended."""
        with contextlib.suppress(OSError):  # it has ended
            if Path(f"/proc/{self._pid}/comm").read_text().startswith("systemd-shutdow"):  # the kernel keeps 15 letters
                return SHUTDOWN
        return DYING if failed.exited == KILLED else 0.0

    def _require(self, patience: float = 0.0) -> None:
        """Refuse when the leader is gone. A dying container kills what runs in it first, a moment before its leader."""
        deadline = time.monotonic() + patience
        while self.alive and time.monotonic() < deadline:
            self._cancel.sleep(patience / 10)
        if not self.alive:
            raise Lost(f"the container's leader, process {self._pid}, is gone")


def entering(pid: int, *args: str) -> list[str]:
    """Return the words that start a shell inside a container, with nothing inherited from the shell of this host.

    Its umask and environment are `subprocess`'s to set: `process_attributes.UMASK` and `environment`.

    Args:
        pid: the container's leader.
        args: for the shell.
    """
    # --root: nspawn's root folder is not the root of its mount namespace.
    enter = ("nsenter", "--target", str(pid), "--all", "--root", "--wd", "--", "/bin/sh")
    return [*process_attributes.words(), *enter, *args]


def environment(pid: int) -> dict[str, str]:
    """Return the whole environment of commands in a container: what sshd gives to root there.

    Args:
        pid: the container's leader.
    """
    with contextlib.suppress(OSError):
        accounts = Path(f"/proc/{pid}/root/etc/passwd").read_text(errors="replace").splitlines()
        shells = [
            words[-1] for line in accounts if len(words := line.split(":")) == len("nupgchs") and words[0] == "root"
        ]
        return {**dict(ENVIRONMENT), "SHELL": shells[0]} if shells and shells[0] else dict(ENVIRONMENT)
    return dict(ENVIRONMENT)


def _same(one: str, other: str) -> bool:
    """Say whether two paths are one folder; one that is gone or may not be looked at is none."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _no_shell(frame: Frame) -> ConnectError:
    return ConnectError(
        "the container's /bin/sh does not run our commands",
        why=frame.chatter,
        hint="it must be a POSIX shell: sh, dash, bash, busybox or the like",
    )


class ShellProcess:
    """A shell of ours that is a process of this host.

    Args:
        argv: the words that start it, the frame's among them.
        frame: of the kind `shell`.
        env: its whole environment.

    Raises:
        ConnectError: the program cannot be started.
    """

    def __init__(self, argv: Sequence[str], frame: Frame, env: dict[str, str]) -> None:
        try:
            self._process = start_process(
                argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=env,
                cwd=Path("/"),
                umask=process_attributes.UMASK,
                buffered=False,
            )
        except OSError as error:
            raise ConnectError(f"cannot run {shlex.join(argv)}", why=str(error)) from error
        stdin, stdout, stderr = (cast("IO[bytes]", pipe) for pipe in self._pipes)
        self._frame = frame
        self._input = stdin
        self._open: dict[int, Stream] = {stdout.fileno(): "stdout", stderr.fileno(): "stderr"}
        self._first: list[tuple[Stream, bytes]] = []

    @property
    def pid(self) -> int:
        """Its process id in the container."""
        return self._frame.pid or 0

    def begin(self, timeout: float, cancel: Cancel) -> None:
        """Wait for our shell's answer.

        Raises:
            ConnectError: something else was started, or nothing.
        """
        deadline = time.monotonic() + timeout
        try:
            while not self._frame.proven:
                cancel.check()
                self._first.extend((stream, data) for stream, data in self._chunks(POLL) if data)
                if self._frame.flooded or time.monotonic() > deadline:
                    break
        except Lost:
            pass  # it has ended
        except BaseException:
            self.close()
            raise
        if not self._frame.proven:
            self.close()
            raise _no_shell(self._frame)

    def send(self, data: bytes) -> None:
        """Write to its standard input; see `Shell`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._input.write(rest) or 0 :]
        except (OSError, ValueError) as error:
            raise Lost("the shell has ended") from error

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        """Return what it wrote; see `Shell`."""
        first, self._first = self._first, []
        return first or [(stream, data) for stream, data in self._chunks(timeout) if data]

    def close(self) -> None:
        """End the shell: by itself, where it only waits for the next command.

        Who kills `nsenter` first leaves a shell that nobody but this host's process 1 waits for, and until it has, the
        container cannot end.
        """
        self._input.close()
        if wait(self._process, ENDING) is None:
            self._process.kill()
            self._process.wait()
        for pipe in self._pipes:
            if pipe is not None:
                pipe.close()

    @property
    def _pipes(self) -> tuple[IO[bytes] | None, ...]:
        return self._process.stdin, self._process.stdout, self._process.stderr

    def _chunks(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        came = self._look(timeout)
        chunks: list[tuple[Stream, bytes]] = []
        for descriptor in came:
            if data := os.read(descriptor, CHUNK):
                chunks.append((self._open[descriptor], data))
            else:
                del self._open[descriptor]
        if not chunks and not self._open:
            raise Lost("the shell in the container has ended")
        return [(stream, self._frame.take(stream, data)) for stream, data in chunks]

    def _look(self, timeout: float | None) -> list[int]:
        """Wait until something can be read, for so many seconds; see `wake` for why in short looks."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not (came := ready(self._open, min(POLL, max(0.0, deadline - time.monotonic())))):
            if time.monotonic() >= deadline:
                break
            wake(self._process)
        return came


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone. Source: proc(5), field 22."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])
