r"""One long-lived shell on a machine that runs command after command: a round trip for each, and no login for any.

Each request is a line of shell, `sh -c COMMAND </dev/null`, followed by one that prints a mark: 128 random bits, with
the exit code on standard output, bare on standard error. What stands before the marks is the command's, byte for byte,
so that binary, empty and huge output all pass unchanged, and requests may be sent in one packet.

- A command cannot eat the next request: its standard input is empty.
- A command that exits, or replaces or kills its shell, ends a shell of its own.
- A command that leaves something running may have that write later: the shell that ran it is *retired*, that is, kept
  open and not used again, so that such output never mixes with another command's.
- A command that runs out of time is ended with all its children, through a second shell.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bakery.machine.transport.base import ShellProgram as Pipes
from bakery.model import Stream
from bakery.util.results import Lost

START_TIMEOUT: Final = 60.0
FEED_TIMEOUT: Final = 300.0
WITH_SBIN: Final = (
    "for d in /usr/local/sbin /usr/sbin /sbin; do "
    'case ":$PATH:" in *":$d:"*) ;; *) PATH=$PATH:$d;; esac; done; export PATH;'
)
"""Adds the folders of root's programs to PATH, where they are missing."""
AS_LOGGED_IN: Final = "unset SHLVL;"
"""Leaves all as sshd made it; without `SHLVL` bash reads ~/.bashrc, as it does below sshd. See bash(1), INVOCATION."""
_BACKGROUND: Final = re.compile(r"(?<![&>|<\\])&(?![&>\d-])")

_KILL_TREE: Final = r"""
tree() {
  for s in /proc/[0-9]*/status; do
    v=
    while read -r k v; do [ "$k" = PPid: ] && break; done 2>/dev/null <"$s"
    if [ "$v" = "$1" ]; then c=${s#/proc/}; ( tree "${c%%/status}" ); fi
  done
  kill -9 "$1"
}
tree %d
"""


@dataclass(frozen=True)
class Reply:
    """What a command left behind.

    Args:
        exited: its exit code; 128+N for signal N.
        stdout: what it wrote, unchanged.
        stderr: the same for the other stream.
    """

    exited: int
    stdout: bytes = b""
    stderr: bytes = b""


class CommandTimeoutError(Exception):
    """A command on the machine ran longer than it may, and was ended with all its children."""


class _Session:
    """One running shell and the framing of requests to it."""

    def __init__(self, pipes: Pipes, prepare: str) -> None:
        self._pipes = pipes
        self.pid = pipes.pid
        self._mark = secrets.token_hex(16).encode()
        self._buffers: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        pipes.send(b"%s m=%s; exec 9>&2 2>/dev/null\n" % (prepare.encode(), self._mark))

    def ask(self, commands: tuple[str, ...], timeout: float | None, interpreter: str) -> list[Reply]:
        # The shell's own remark on a command that a signal ended ("Killed") goes nowhere: its standard error is shut.
        frames = (
            b"%s -c %s </dev/null 2>&9 9>&-; printf '%%s%%d;' $m $?; printf %%s $m >&9\n"
            % (interpreter.encode(), shlex.quote(command).encode(errors="surrogateescape"))
            for command in commands
        )
        self._pipes.send(b"".join(frames))
        deadline = None if timeout is None else time.monotonic() + timeout
        return [self._reply(deadline) for _ in commands]

    def feed(self, script: str) -> Reply:
        end = "printf '%s%d;' $m $?; printf %s $m >&9\n"
        self._pipes.send(f"{{ {script}\n}} 2>&9\n{end}".encode(errors="surrogateescape"))
        return self._reply(time.monotonic() + FEED_TIMEOUT)

    def drain(self) -> bool:
        """Throw away what has come; False when the shell has ended."""
        try:
            self._pipes.receive(0)
        except Lost:
            return False
        return True

    def close(self) -> None:
        self._pipes.close()

    def _reply(self, deadline: float | None) -> Reply:
        stdout = self._upto(self._mark, "stdout", deadline)
        exited = self._upto(b";", "stdout", deadline)
        stderr = self._upto(self._mark, "stderr", deadline)
        return Reply(int(exited), stdout, stderr)

    def _upto(self, mark: bytes, stream: Stream, deadline: float | None) -> bytes:
        """Take all before a mark, and the mark itself, out of a stream."""
        buffer, searched = self._buffers[stream], 0
        while (at := buffer.find(mark, searched)) < 0:
            searched = max(0, len(buffer) - len(mark) + 1)
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise CommandTimeoutError
            for name, data in self._pipes.receive(left):
                self._buffers[name] += data
        text = bytes(buffer[:at])
        del buffer[: at + len(mark)]
        return text


class Shell:
    """Runs commands on a machine as root, one after the other. Not for several threads.

    Args:
        spawn: starts `/bin/sh` on the machine, as root, over a connection that is already there; it has proven to be
            ours, so that nothing that is sent can be read by anybody else.
        prepare: a line that makes its environment; by default root's programs are found as well.
    """

    def __init__(self, spawn: Callable[[], Pipes], prepare: str = WITH_SBIN) -> None:
        self._spawn = spawn
        self._prepare = prepare
        self._session: _Session | None = None
        self._retired: list[_Session] = []
        self.round_trips = 0
        self.busy = False
        """True while it asks."""

    def ask(self, *commands: str, timeout: float | None = None, interpreter: str = "/bin/sh") -> list[Reply]:
        """Run commands and return what they left behind; all of them take one round trip.

        Args:
            commands: lines for the interpreter.
            timeout: seconds for all of them.
            interpreter: the machine's shell that they are for.

        Raises:
            CommandTimeoutError: they took longer.
            Lost: the connection, or the shell, ended under them.
        """
        self.busy = True
        try:
            return self._ask(commands, timeout, interpreter)
        finally:
            self.busy = False

    def _ask(self, commands: tuple[str, ...], timeout: float | None, interpreter: str) -> list[Reply]:
        self._retired = [session for session in self._retired if session.drain()]
        session = self._session or self._open()
        self.round_trips += 1
        try:
            replies = session.ask(commands, timeout, interpreter)
        except CommandTimeoutError:
            self._kill(session)
            text = "; ".join(commands)
            raise CommandTimeoutError(f"still running after {timeout:g} s, and ended: {text}") from None
        except Lost:
            session.close()
            self._session = None
            raise
        if any(_BACKGROUND.search(command) for command in commands):
            self._retired.append(session)
            self._session = None
        return replies

    def feed(self, script: str) -> Reply:
        """Run a script in the shell itself, so that its text is in nobody's arguments.

        Args:
            script: shell lines that read no standard input, but for here-documents, and do not exit.
        """
        self.round_trips += 1
        return (self._session or self._open()).feed(script)

    def close(self) -> None:
        """End all shells."""
        for session in [*self._retired, *([self._session] if self._session else [])]:
            session.close()
        self._session, self._retired = None, []

    def _open(self) -> _Session:
        pipes = self._spawn()
        try:
            self._session = _Session(pipes, self._prepare)
        except BaseException:
            pipes.close()
            raise
        return self._session

    def _kill(self, session: _Session) -> None:
        """End a shell and everything that it started."""
        self._open().ask((_KILL_TREE % session.pid,), START_TIMEOUT, "/bin/sh")
        session.close()
