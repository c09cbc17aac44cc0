"""Running a program on this host: streamed output and input, and an end that reaches its whole process group.

All programs that the package starts are started here; tests/unit/test_architecture.py lists what cannot be, and why.
`run_process` is for commands whose result is looked at, whatever it is; `bakery.util.tools.run` for tools that must
not fail; `start_process` for what goes on running.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, TypeAlias, cast

from bakery.model import Result, Stream
from bakery.util.results import OnOutput, TimedOut
from bakery.util.streams import CHUNK, Collected, Feeder, OutputFrame, OutputTaker, Source
from bakery.util.waiting import Cancel

Process: TypeAlias = "subprocess.Popen[bytes]"
PIPE: Final = subprocess.PIPE
NOTHING: Final = subprocess.DEVNULL
STDOUT: Final = subprocess.STDOUT
POLL: Final = 0.1
"""Seconds between two looks at the cancel token."""
PATIENCE: Final = 3.0
"""Seconds that a process group has between SIGTERM and SIGKILL."""
GRACE: Final = 1.0
"""Seconds to wait for more output of a program that has ended: something that it started may hold its pipes open."""


def start_process(
    argv: Sequence[str | Path],
    *,
    stdin: int | IO[bytes] = NOTHING,
    stdout: int | IO[bytes] = NOTHING,
    stderr: int | IO[bytes] = NOTHING,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    umask: int = -1,
    pass_fds: Sequence[int] = (),
    buffered: bool = True,
) -> Process:
    """Start a program in a process group of its own, without this terminal, and do not wait for it.

    Whoever starts one ends it, with `end_group`, or has a thread wait for its end: else it stays a zombie.

    Args:
        argv: program and arguments; never meets a shell.
        stdin: where its input comes from: a file, `PIPE`, or `NOTHING`.
        stdout: where its output goes.
        stderr: the same.
        env: its whole environment; ours when None.
        cwd: where it runs.
        umask: its umask; ours when -1.
        pass_fds: descriptors of ours that it has, too.
        buffered: False for pipes that are talked through.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        list(map(str, argv)),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=env,
        cwd=cwd,
        umask=umask,
        pass_fds=pass_fds,
        bufsize=-1 if buffered else 0,
        start_new_session=True,
    )


def start_on_terminal(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, pass_fds: Sequence[int] = ()
) -> Process:
    """Start a program that the user talks to, on this process's terminal, and do not wait for it.

    It is in our group of processes, to which the terminal belongs: Ctrl-C reaches both. What it says goes to standard
    error, as all that is no result.

    Args:
        argv: program and arguments.
        env: its whole environment.
        cwd: where it runs.
        pass_fds: descriptors of ours that it has, too.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(argv, stdout=sys.stderr.fileno(), env=env, cwd=cwd, pass_fds=pass_fds)


def end_on_terminal(process: Process, patience: float = PATIENCE) -> None:
    """End what `start_on_terminal` started: SIGTERM, then SIGKILL.

    Args:
        process: the program.
        patience: seconds that it has to end by itself.
    """
    process.terminate()
    if wait(process, patience) is None:
        process.kill()
    wait(process, PATIENCE)


def run_on_terminal(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, umask: int = -1, apart: bool = False
) -> int:
    """Run a program that the user talks to, on this process's own terminal and streams, and return its exit code.

    Args:
        argv: program and arguments.
        env: its whole environment; ours when None.
        umask: its umask; ours when -1.
        apart: True for a process group of its own where its input is no terminal, which only one group may read: a
            container's `kill 0` would reach this process, and the script that called it.

    Raises:
        OSError: it cannot be started.
    """
    apart = apart and not os.isatty(0)
    process = subprocess.Popen(argv, env=env, umask=umask, process_group=0 if apart else None)
    try:
        return wait_awake(process)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if apart else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        raise


def run_process(
    argv: Sequence[str],
    *,
    cancel: Cancel,
    command: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: Source | None = None,  # noqa: A002  subprocess's own word
    timeout: float | None = None,
    on_output: OnOutput | None = None,
    collect: bool = True,
    umask: int = -1,
    frame: OutputFrame | None = None,
    pass_fds: Sequence[int] = (),
) -> Result:
    """Run a program in a process group of its own and wait for its end.

    Args:
        argv: program and arguments.
        cancel: ends the group and the wait.
        command: what the result calls it; the arguments when empty.
        env: its whole environment; ours when None.
        cwd: where it runs.
        input: bytes, a file to stream, or a generator of bytes.
        timeout: seconds.
        on_output: called with each chunk, from this thread.
        collect: False leaves the result's `stdout` empty.
        umask: its umask; ours when -1.
        frame: of the command, where `argv` has one: the input waits for its proof, and its exit code counts.
        pass_fds: descriptors of ours that it has, too.

    Raises:
        TimedOut: the group was ended after `timeout`.
        Interrupted: it was ended because the run is cancelled.
        OSError: the program cannot be started.
    """
    collected = Collected(command or " ".join(argv), on_output, keep=collect, frame=frame)
    process = start_process(
        argv,
        stdin=NOTHING if input is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=cwd,
        umask=umask,
        pass_fds=pass_fds,
    )
    code = attend(process, collected, cancel=cancel, input=input, timeout=timeout, wakes=frame is not None)
    if code is None:
        raise TimedOut(collected.result(-1))
    return collected.result(128 - code if code < 0 else code)


def attend(
    process: Process,
    taker: OutputTaker,
    *,
    cancel: Cancel,
    input: Source | None = None,  # noqa: A002  subprocess's own word
    timeout: float | None = None,
    patience: float = PATIENCE,
    leave: bool = True,
    wakes: bool = False,
) -> int | None:
    """Feed a program, take its output, and wait for its end.

    Args:
        process: just started, with its output and error, and its input where there is one, as pipes.
        taker: gets each chunk, in this thread.
        cancel: ends the group and the wait.
        input: what the program reads.
        timeout: seconds.
        patience: seconds that its group has between SIGTERM and SIGKILL.
        leave: False to end what it started and left behind, holding its pipes.
        wakes: True to let it go on whenever it has stopped; see `wake`.

    Returns:
        Its exit code, negative for a signal; None where it was ended because the time was over.

    Raises:
        Interrupted: it was ended because the run is cancelled.
    """
    feeder = None
    if input is not None and process.stdin is not None:
        feeder = Feeder(input, process.stdin.write, process.stdin.close, (BrokenPipeError, ValueError))
        if taker.begun:
            feeder.start()
    try:
        left = _pump(process, feeder, taker, cancel, timeout, wakes=wakes)
        if left is None or (left and not leave):
            end_group(process, patience)
    except BaseException:
        end_group(process, patience)
        raise
    finally:
        _close_pipes(process)
        if feeder is not None:
            feeder.join(GRACE)
    if feeder is not None:
        feeder.check()
    return None if left is None else process.returncode


def ready(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    """Wait until something can be read, or has ended; `poll` has no limit on descriptors, which `select` has."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1000)]


def wait(process: Process, seconds: float) -> int | None:
    """Wait for a program's end, and return its exit code; None where it still runs after so many seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def wake(process: Process) -> None:
    """Let a program go on that has stopped, with what it waits for.

    `nsenter` of util-linux stops itself whenever the command that it started has stopped (enterns in its source, seen
    with 2.38), for the sake of shells with job control. systemd stops all that runs in a container before it ends it;
    nobody would then wait for the command's end, without which the container's first process cannot end either.
    A command that stops its process group (`kill -STOP 0`) stops every program between it and us, so all of a group
    that is ours go on.

    Args:
        process: a child of ours.
    """
    with contextlib.suppress(ChildProcessError, ProcessLookupError):  # it has ended
        if os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG) is not None:
            leads = os.getpgid(process.pid) == process.pid
            (os.killpg if leads else os.kill)(process.pid, signal.SIGCONT)


def wait_awake(process: Process) -> int:
    """Wait for a program's end, letting it go on whenever it has stopped, and return its exit code."""
    while (code := wait(process, POLL)) is None:
        wake(process)
    return code


def exit_text(code: int) -> str:
    """Say how a program ended.

    Args:
        code: as `subprocess` has it: negative for a signal.
    """
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal_name(-code)}"


def signal_name(number: int) -> str:
    """Name a signal: `SIGKILL`; `signal 40` for one of the real-time signals, which have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def end_group(process: Process, patience: float = PATIENCE) -> None:
    """End a process and its group: SIGTERM, then SIGKILL for what is still there.

    One that the kernel cannot end, because it waits for a disk, is left to itself.

    Args:
        process: the first of its group.
        patience: seconds that it has to end by itself.
    """
    with contextlib.suppress(ProcessLookupError):  # the whole group is gone already, which is what we want
        os.killpg(process.pid, signal.SIGTERM)
        wait(process, patience)
        os.killpg(process.pid, signal.SIGKILL)
    wait(process, PATIENCE)


def _pump(
    process: Process, feeder: Feeder | None, taker: OutputTaker, cancel: Cancel, timeout: float | None, *, wakes: bool
) -> bool | None:
    """Read both streams until they end, or until the program has ended and nothing more comes.

    Returns:
        Whether something still holds the other end of a stream; None where the time was over.
    """
    streams: dict[int, Stream] = {
        cast("IO[bytes]", process.stdout).fileno(): "stdout",
        cast("IO[bytes]", process.stderr).fileno(): "stderr",
    }
    started = over_since = time.monotonic()
    while streams or process.poll() is None:
        _attend_once(process, feeder, cancel, wakes=wakes)
        if timeout is not None and time.monotonic() - started > timeout:
            return None
        if not streams:
            wait(process, POLL)
            continue
        ended = process.poll() is not None  # asked before the look, which then finds what it has written last
        came = ready(streams, POLL)
        for fd in came:
            if data := os.read(fd, CHUNK):
                taker.take(streams[fd], data)
                if feeder is not None and taker.begun:
                    feeder.start()
            else:
                del streams[fd]
        if came or not ended:
            over_since = time.monotonic()
        elif time.monotonic() - over_since > GRACE:
            break
    return bool(streams)


def _attend_once(process: Process, feeder: Feeder | None, cancel: Cancel, *, wakes: bool) -> None:
    cancel.check()
    if feeder is not None:
        feeder.check()
    if wakes:
        wake(process)


def _close_pipes(process: Process) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
