"""Guest operations as a transport: commands, their input and their output, by files in the guest."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable
from importlib.resources import files
from typing import IO, Final

from bakery.drivers.vsphere.guest.command import AWAY, PIECE, GuestCommand, PiecedInput
from bakery.drivers.vsphere.guest.guest import GuestAccess, GuestAway, GuestFolderGone
from bakery.errors import BakeryError, ConnectError
from bakery.machine.transport.base import ShellProgram, Transport
from bakery.machine.transport.frame import Frame
from bakery.machine.transport.remote_shell import LEFTOVERS, end_line
from bakery.machine.transport.stages import NotReached
from bakery.model import Result, Stream
from bakery.util.process import PATIENCE
from bakery.util.results import Lost, OnOutput, TimedOut
from bakery.util.streams import Collected, Feeder
from bakery.util.waiting import Cancel

LOOK: Final = 60.0
"""Seconds that a command of our own may take which looks after others."""
SHELL: Final = "/bin/sh"
UNKNOWN: Final = "-"
"""In place of the number of pieces of input that come later."""


class GuestTransport(Transport):
    """A way into a guest by its files and programs alone.

    Args:
        guest: whose; closed with this.
        user: as whom it is entered.
        cancel: ends commands.

    Raises:
        NotReached: VMware Tools do not answer yet.
        VSphereError: refused.
    """

    def __init__(self, guest: GuestAccess, user: str, cancel: Cancel) -> None:
        self.guest = guest
        self.cancel = cancel
        self._user = user
        self._numbers = itertools.count(1)
        self._ended: list[int] = []
        self._lock = threading.Lock()
        self._closed = False
        try:
            self.folder = guest.make_folder()
            script = files("bakery.drivers.vsphere.guest").joinpath("supervisor.sh").read_bytes()
            guest.upload(f"{self.folder}/run", script)
        except (GuestAway, GuestFolderGone) as error:
            guest.close()
            raise NotReached("guest agent", str(error), hint=TOOLS) from error
        except BaseException:
            guest.close()
            raise

    @property
    def user(self) -> str:
        """The login user."""
        return self._user

    @property
    def alive(self) -> bool:
        """False once it was seen that nothing of ours is in the guest any more."""
        return not self._closed

    def run(
        self,
        command: str,
        *,
        input: bytes | IO[bytes] | None = None,  # noqa: A002  as in the base class
        timeout: float | None = None,
        on_output: OnOutput | None = None,
        collect: bool = True,
    ) -> Result:
        """Run a command line; see the base class."""
        frame = Frame()
        running = self._start(frame, command, input)
        collected = Collected(command, on_output, keep=collect, frame=frame)
        try:
            self._wait(running, collected, timeout)
            return self._result(running, frame, collected)
        except TimedOut:
            self._end(running, frame, collected)
            raise TimedOut(collected.result(-1)) from None
        except (Lost, ConnectError):
            raise
        except BaseException:
            with self.cancel, contextlib.suppress(Lost):  # the run is cancelled: the reason is on its way up
                self._end(running, frame, collected)
            raise
        finally:
            self._done(running)

    def open_shell(self, timeout: float = 60.0, *, as_root: bool = True) -> ShellProgram:
        """Start a shell; see the base class."""
        frame = Frame("shell")
        before = () if self.user == "root" or not as_root else ("sudo", "-n", "--")
        running = self._send(frame.line(before=before), UNKNOWN)
        shell = GuestShell(self, running, frame)
        try:
            shell.begin(timeout)
        except BaseException:
            shell.close()
            raise
        return shell

    def end_leftovers(self) -> None:
        """End commands of an earlier process; see the base class."""
        for pid in self._look(LEFTOVERS).split():
            self._look(end_line(int(pid), sudo=self.user != "root"))

    def round_trip(self) -> float:
        """Measure the seconds of one round trip."""
        try:
            return self.guest.round_trip()
        except GuestAway as error:
            raise Lost(str(error)) from error

    def close(self) -> None:
        """Remove what is ours in the guest, and end the connection to the server."""
        if self._closed:
            return
        self._closed = True
        # A guest that is off, or in another boot, has none of it.
        with contextlib.suppress(BakeryError, Lost, GuestAway, GuestFolderGone):
            self.guest.remove_folder(self.folder)
        self.guest.close()

    def lost(self, error: Lost) -> Lost:
        """Note that nothing of ours runs in the guest any more, and return the error."""
        self.close()
        return error

    # ---- one command --------------------------------------------------------------------------------------------

    def _start(self, frame: Frame, command: str, source: bytes | IO[bytes] | None) -> _Fed:
        """Send a command and its input, or as much of it as goes at once."""
        line = frame.line(command)
        if source is None:
            return _Fed(self._send(line, "0"), None)
        if isinstance(source, bytes) and len(source) <= PIECE:
            return _Fed(self._send(line, "1", source), None)
        running = self._send(line, UNKNOWN)
        sent = PiecedInput(self, running)
        feeder = Feeder(source, sent.write, sent.close, (BrokenPipeError,))
        feeder.start()
        return _Fed(running, feeder)

    def _send(self, line: str, pieces: str, first: bytes | None = None) -> GuestCommand:
        """Put a command's files into the guest and start it."""
        if self._closed:
            raise Lost("the way to the guest is closed")
        with self._lock:
            number = next(self._numbers)
            ended, self._ended = self._ended, []
        deadline = time.monotonic() + AWAY
        while True:  # each of these may be done twice
            try:
                self.guest.upload(f"{self.folder}/{number}.cmd", f"{line}\n".encode())
                if first is not None:
                    self.guest.upload(f"{self.folder}/{number}.in.0", first)
                # Nothing of the user's is in the arguments, which everybody in the guest can see.
                pid = self.guest.start(SHELL, f"{self.folder}/run {number} {pieces} {_words(ended)}")
                return GuestCommand(self, number, pid)
            except GuestFolderGone as error:
                raise self.lost(Lost("what was ours in the guest is gone: it is in another boot")) from error
            except GuestAway as error:
                if time.monotonic() > deadline:
                    raise self.lost(Lost(f"the guest does not answer: {error}")) from error
            self.cancel.sleep(1.0)

    def _wait(self, running: _Fed, collected: Collected, timeout: float | None) -> None:
        """Hand on what comes until the command ends."""
        while True:
            self.cancel.check()
            for stream, data in self._polled(running.command):
                collected.take(stream, data)
            if running.feeder is not None:
                running.feeder.check()
            if running.command.over:
                return
            left = None if timeout is None else timeout - collected.seconds
            if left is not None and left < 0 and running.command.away:  # a guest that was told to restart
                raise self.lost(Lost("VMware Tools do not answer any more"))
            if left is not None and left < 0:
                raise TimedOut(collected.result(-1))
            pause = running.command.pause
            self.cancel.sleep(pause if left is None else min(pause, left + 0.01))

    def _polled(self, command: GuestCommand) -> Iterable[tuple[Stream, bytes]]:
        try:
            return command.poll()
        except Lost as error:
            raise self.lost(error) from error.__cause__

    def _result(self, running: _Fed, frame: Frame, collected: Collected) -> Result:
        if not frame.proven:
            raise ConnectError(
                "the guest's /bin/sh does not run our commands",
                why=frame.chatter,
                hint="it must be a POSIX shell with the usual programs (mkfifo, dd, cat, env): dash, bash or busybox",
            )
        return collected.result(running.command.exit_code() if frame.exited is None else frame.exited)

    def _end(self, running: _Fed, frame: Frame, collected: Collected) -> None:
        """End a command and all that it started."""
        with self.cancel, contextlib.suppress(TimedOut):
            if frame.pid is not None:
                self._look(end_line(frame.pid, sudo=self.user != "root"))
            deadline = time.monotonic() + PATIENCE
            while not running.command.over and time.monotonic() < deadline:
                for stream, data in self._polled(running.command):
                    collected.take(stream, data)
                self.cancel.sleep(0.1)
            if not running.command.over:
                with contextlib.suppress(GuestAway):  # then it is gone
                    self.guest.terminate(running.command.pid)

    def _look(self, command: str) -> str:
        """Run a command of our own that looks after others, and return its output."""
        frame = Frame("look")
        collected = Collected("", None, keep=True, frame=frame)
        running = self._start(frame, command, None)
        try:
            self._wait(running, collected, LOOK)
        finally:
            self._done(running)
        return collected.result(0).stdout

    def _done(self, running: _Fed) -> None:
        self.forget(running.command)

    def forget(self, command: GuestCommand) -> None:
        """Let the next command remove this one's files."""
        with self._lock:
            self._ended.append(command.number)


class _Fed:
    """A command, and what writes its input.

    Args:
        command: it.
        feeder: None where all of its input is in the guest.
    """

    def __init__(self, command: GuestCommand, feeder: Feeder | None) -> None:
        self.command = command
        self.feeder = feeder


class GuestShell:
    """A shell of ours in the guest.

    Args:
        transport: the way to it.
        command: it.
        frame: of the kind `shell`.
    """

    def __init__(self, transport: GuestTransport, command: GuestCommand, frame: Frame) -> None:
        self._transport = transport
        self._command = command
        self._frame = frame
        self._input = PiecedInput(transport, command)
        self._first: list[tuple[Stream, bytes]] = []

    @property
    def pid(self) -> int:
        """Its process id in the guest."""
        return self._frame.pid or 0

    def begin(self, timeout: float) -> None:
        """Wait for our shell's answer.

        Args:
            timeout: seconds.

        Raises:
            ConnectError: something else was started, or nothing.
        """
        deadline = time.monotonic() + timeout
        with contextlib.suppress(Lost):
            while not self._frame.proven and not self._frame.flooded and time.monotonic() < deadline:
                self._first += self.receive(0.2)
        if not self._frame.proven:
            raise ConnectError("no shell of ours starts in the guest", why=self._frame.chatter)

    def send(self, data: bytes) -> None:
        """Write to its standard input; see `ShellProgram`."""
        try:
            self._input.write(data)
            self._input.flush()
            self._command.touch()
        except BrokenPipeError as error:
            raise Lost("the shell has ended") from error

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        """Return what it wrote; see `ShellProgram`."""
        first, self._first = self._first, []
        deadline = None if timeout is None else time.monotonic() + timeout
        while not first:
            try:
                chunks = self._command.poll()
            except Lost as error:
                raise self._transport.lost(error) from error.__cause__
            for stream, data in chunks:
                if own := self._frame.take(stream, data):
                    first.append((stream, own))
            if first or (deadline is not None and time.monotonic() >= deadline):
                break
            if self._command.over:
                raise Lost("the shell in the guest has ended")
            self._transport.cancel.sleep(self._command.pause)
        return first

    def close(self) -> None:
        """End the shell."""
        with contextlib.suppress(BakeryError, Lost, BrokenPipeError):  # it has ended, or the guest has
            self._input.close()
        self._transport.forget(self._command)


def _words(numbers: Iterable[int]) -> str:
    return " ".join(str(number) for number in numbers)


TOOLS: Final = "do VMware Tools (open-vm-tools) run in the guest, and may guest operations be used there?"
