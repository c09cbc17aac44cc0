r"""One long-lived shell on a machine that runs command after command: a round trip for each, and no login for any.

Each request is a line of shell, `sh -c COMMAND </dev/null`, followed by one that prints a mark: 128 random bits, with
the exit code on standard output, bare on standard error. What stands before the marks is the command's, byte for byte,
so that binary, empty and huge output all pass unchanged, and requests may be sent in one packet.

- A command cannot eat the next request: its standard input is empty.
- A command that exits, or replaces or kills its shell, ends a shell of its own.
- A command that leaves something running may have that write later: the shell that ran it is *retired*, that is, kept
  open and not used again, so that such output never mixes with another command's.
- A command that runs out of time is ended with all its children, through a second shell.
- Questions may be sent ahead (`Shell.begin`): nobody waits for their answers but whoever takes one.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bakery.machine.transport.base import ShellProgram as Pipes
from bakery.model import Stream
from bakery.util.results import Lost

START_TIMEOUT: Final = 60.0
FEED_TIMEOUT: Final = 300.0
PATIENCE: Final = 20.0
"""Seconds that questions which were sent ahead may take when something else is to be asked; then they are ended."""
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


@dataclass(frozen=True)
class Request:
    """A line that is sent, and the machine's shell that it is for."""

    command: str
    interpreter: str = "/bin/sh"


class CommandTimeoutError(Exception):
    """A command on the machine ran longer than it may, and was ended with all its children."""


class _Session:
    """One running shell and the framing of requests to it."""

    def __init__(self, pipes: Pipes, prepare: str) -> None:
        self._pipes = pipes
        self.pid = pipes.pid
        self._mark = secrets.token_hex(16).encode()
        self._buffers: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._awaited: deque[Pending] = deque()
        pipes.send(b"%s m=%s; exec 9>&2 2>/dev/null\n" % (prepare.encode(), self._mark))

    def begin(self, requests: Sequence[Request]) -> list[Pending]:
        # The shell's own remark on a command that a signal ended ("Killed") goes nowhere: its standard error is shut.
        frames = (
            b"%s -c %s </dev/null 2>&9 9>&-; printf '%%s%%d;' $m $?; printf %%s $m >&9\n"
            % (request.interpreter.encode(), shlex.quote(request.command).encode(errors="surrogateescape"))
            for request in requests
        )
        self._pipes.send(b"".join(frames))
        pending = [Pending(self) for _ in requests]
        self._awaited.extend(pending)
        return pending

    def take(self, wanted: Pending | None, timeout: float | None) -> None:
        """Wait for a reply, and so for all before it; for all that are awaited where none is named."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._awaited and (wanted is None or wanted.reply is None):
            self._awaited[0].reply = self._reply(deadline)
            self._awaited.popleft()

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


class Pending:
    """A request that was sent.

    Args:
        session: the shell that has it.
    """

    def __init__(self, session: _Session) -> None:
        self.session = session
        self.reply: Reply | None = None


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

    def begin(self, *requests: Request) -> list[Pending]:
        """Send questions, and wait for no answer.

        Args:
            requests: lines that start nothing which goes on after them.

        Raises:
            Lost: the connection, or the shell, has ended.
        """
        self.busy = True
        try:
            return self._begin(requests)
        finally:
            self.busy = False

    def ask_with(
        self, requests: list[Request], ahead: list[Request], timeout: float | None
    ) -> tuple[list[Reply], list[Pending]]:
        """Ask questions, and send others behind them; return the answers, and what the others will be answered by.

        Args:
            requests: questions.
            ahead: more of them.
            timeout: seconds for the first ones.

        Raises:
            CommandTimeoutError: they took longer.
            Lost: the connection, or the shell, ended under them.
        """
        self.busy = True
        try:
            self._settle()
            sent = self._begin([*requests, *ahead])
            last = sent[len(requests) - 1]
            self._take(last.session, last, timeout, "; ".join(request.command for request in requests))
        finally:
            self.busy = False
        replies = [pending.reply for pending in sent[: len(requests)] if pending.reply is not None]
        return replies, sent[len(requests) :]

    def take(self, pending: Pending) -> Reply:
        """Return the answer to a question that was sent, waiting for it.

        Raises:
            CommandTimeoutError: it, and those before it, took too long; they were ended.
            Lost: the connection, or the shell, ended under it.
        """
        if pending.reply is None:
            self.busy = True
            try:
                self._take(pending.session, pending, PATIENCE, "questions that were sent ahead")
            finally:
                self.busy = False
        if pending.reply is None:
            raise Lost("the shell that was asked has ended")
        return pending.reply

    def _ask(self, commands: tuple[str, ...], timeout: float | None, interpreter: str) -> list[Reply]:
        self._settle()
        sent = self._begin([Request(command, interpreter) for command in commands])
        session = sent[-1].session
        self._take(session, sent[-1], timeout, "; ".join(commands))
        if any(_BACKGROUND.search(command) for command in commands):
            self._retired.append(session)
            self._session = None
        return [pending.reply for pending in sent if pending.reply is not None]

    def _settle(self) -> None:
        """Wait for what was sent ahead: nothing may hold up what comes now, and nothing of it is to run twice."""
        if self._session is None:
            return
        with contextlib.suppress(CommandTimeoutError):  # they were ended, and their shell with them
            self._take(self._session, None, PATIENCE, "questions that were sent ahead")

    def _begin(self, requests: Sequence[Request]) -> list[Pending]:
        self._retired = [session for session in self._retired if session.drain()]
        session = self._session or self._open()
        self.round_trips += 1
        try:
            return session.begin(requests)
        except Lost:
            self._drop(session)
            raise

    def _take(self, session: _Session, wanted: Pending | None, timeout: float | None, what: str) -> None:
        try:
            session.take(wanted, timeout)
        except CommandTimeoutError:
            self._kill(session)
            raise CommandTimeoutError(f"still running after {timeout:g} s, and ended: {what}") from None
        except Lost:
            self._drop(session)
            raise

    def _drop(self, session: _Session) -> None:
        session.close()
        if self._session is session:
            self._session = None

    def feed(self, script: str) -> Reply:
        """Run a script in the shell itself, so that its text is in nobody's arguments.

        Args:
            script: shell lines that read no standard input, but for here-documents, and do not exit.
        """
        self._settle()
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
        fresh = self._open()
        fresh.take(fresh.begin([Request(_KILL_TREE % session.pid)])[0], START_TIMEOUT)
        session.close()
