"""One command in a guest, by files: its line, its input in pieces, its output in pieces, its exit code."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bakery.drivers.vsphere.guest.guest import GuestAccess, GuestAway, GuestFolderGone
from bakery.errors import TaskError
from bakery.model import Stream
from bakery.util.process import GRACE
from bakery.util.results import Lost
from bakery.util.waiting import Cancel

PIECE: Final = 4 << 20
"""Bytes of one file of input; of output they are at most as many."""
WINDOW: Final = 2
"""Pieces that may lie in the guest before the other side has taken the first."""
PAUSES: Final = (0.1, 2.0)
"""Seconds between two looks, least and most: a tenth of the time for which nothing came."""
AWAY: Final = 60.0
"""Seconds for which VMware Tools may not answer under a command: they start anew when a task updates them."""
LOOK_AFTER: Final = 10.0
"""Seconds of silence after which a command's supervisor is looked for among the guest's programs."""
STREAMS: Final[tuple[tuple[Stream, str], ...]] = (("stdout", "out"), ("stderr", "err"))


class GuestSession(Protocol):
    """What a command asks of the transport that it belongs to."""

    @property
    def guest(self) -> GuestAccess:
        """The guest."""
        ...

    @property
    def folder(self) -> str:
        """Where files of ours are in it."""
        ...

    @property
    def cancel(self) -> Cancel:
        """Ends waits."""
        ...


@dataclass
class _Output:
    """How far a stream was read.

    Args:
        word: in the names of its files.
        piece: the number of the one that is read.
        offset: bytes of it that were handed on.
        ended: all of it was.
    """

    word: str
    piece: int = 0
    offset: int = 0
    ended: bool = False


class GuestCommand:
    """A command that runs.

    Args:
        session: where.
        number: begins the names of its files.
        pid: of its supervisor.
    """

    def __init__(self, session: GuestSession, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.consumed = threading.Condition()
        self.waiting: frozenset[str] = frozenset()
        """Pieces of input that lay in the guest when it was looked at last."""
        self._session = session
        self._outputs: dict[Stream, _Output] = {name: _Output(word) for name, word in STREAMS}
        self.away = False
        """True while VMware Tools do not answer."""
        self._exited = False
        self._last = self._answered = self._sought = time.monotonic()

    @property
    def over(self) -> bool:
        """True when it has ended, and all its output was read, or what is left in its background says nothing more."""
        if not self._exited:
            return False
        silent = time.monotonic() - self._last > GRACE
        return silent or all(output.ended for output in self._outputs.values())

    @property
    def pause(self) -> float:
        """Seconds until it is worth another look."""
        if self._exited:
            return PAUSES[0]
        return min(max((time.monotonic() - self._last) / 10, PAUSES[0]), PAUSES[1])

    def path(self, name: str) -> str:
        """Return the path of one of its files."""
        return f"{self._session.folder}/{self.number}.{name}"

    def poll(self) -> list[tuple[Stream, bytes]]:
        """Look once, and return what is new.

        Raises:
            Lost: the guest is in another boot, off, or out of reach; or somebody ended what runs the command.
            TaskError: what it said cannot be kept in the guest.
        """
        found: list[tuple[Stream, bytes]] = []
        try:
            sizes = self._session.guest.sizes(self._session.folder, self.number)
            self._answered, self.away = time.monotonic(), False
            for name in self._outputs:
                for data in self._new(name, sizes):
                    found.append((name, data))  # noqa: PERF401  one that came is kept when the next fails
            if not self._exited and self._name("exit") in sizes:
                self._exited = True
                self.touch()
            self._note_input(sizes)
            if not found:
                self._look_after()
        except GuestAway as error:  # what came before is not lost
            self.away = True
            if time.monotonic() - self._answered > AWAY:
                raise Lost(f"VMware Tools do not answer for {AWAY:g} s: {error}") from error
        except GuestFolderGone as error:
            raise Lost("what ran in the guest is gone: it is in another boot") from error
        if found:
            self.touch()
        return found

    def touch(self) -> None:
        """Note that something happened, after which an answer may come soon."""
        self._last = time.monotonic()

    def exit_code(self) -> int:
        """Return the exit code that its supervisor saw.

        Raises:
            Lost: nobody can say it any more.
        """
        try:
            text = self._session.guest.download(self.path("exit")).strip()
        except (GuestAway, GuestFolderGone) as error:
            raise Lost(f"how the command ended is not known: {error}") from error
        return int(text) if text.isdigit() else 1

    def _name(self, rest: str) -> str:
        return f"{self.number}.{rest}"

    def _new(self, name: Stream, sizes: Mapping[str, int]) -> Iterator[bytes]:
        """Yield what a stream's pieces have that was not handed on yet."""
        output, guest = self._outputs[name], self._session.guest
        if self._name(f"{output.word}.lost") in sizes:
            raise TaskError(
                "the output of a command cannot be kept in the guest",
                why=f"a file in {self._session.folder} could not be written: it has no room, or was removed",
                hint="a guest that is reached by guest operations needs 16 MiB there; let the command write to a file",
            )
        ended = self._name(f"{output.word}.end") in sizes
        while not output.ended and (size := sizes.get(self._name(f"{output.word}.{output.piece}"))) is not None:
            path = self.path(f"{output.word}.{output.piece}")
            complete = ended or self._name(f"{output.word}.{output.piece + 1}") in sizes
            last = ended and self._name(f"{output.word}.{output.piece + 1}") not in sizes
            # A piece that was complete when its successor was seen may have grown since its size was looked at.
            if size > output.offset or (complete and not last):
                data = guest.download(path)[output.offset :]
                output.offset += len(data)
                if data:
                    yield data
            if not complete:
                return
            if not ended:  # else all files of the command go together
                guest.delete(path)
            output.ended = last
            output.piece, output.offset = output.piece + 1, 0

    def _note_input(self, sizes: Mapping[str, int]) -> None:
        with self.consumed:
            self.waiting = frozenset(name for name in sizes if name.startswith(self._name("in.")))
            self.consumed.notify_all()

    def _look_after(self) -> None:
        """See that the supervisor of a command that is silent for long runs still."""
        now = time.monotonic()
        if self._exited or now - max(self._last, self._sought) < LOOK_AFTER:
            return
        self._sought = now
        session = self._session
        if not session.guest.runs(f"{session.folder}/run {self.number} ") and not self._has_exited():
            raise Lost("somebody ended what runs the command in the guest")

    def _has_exited(self) -> bool:
        return self._name("exit") in self._session.guest.sizes(self._session.folder, self.number)


class PiecedInput:
    """A command's input on its way into the guest.

    Args:
        session: where.
        command: whose input it is.
    """

    def __init__(self, session: GuestSession, command: GuestCommand) -> None:
        self._session = session
        self._command = command
        self._held = bytearray()
        self._piece = 0

    def write(self, data: bytes) -> None:
        """Take bytes; they are sent when there are enough of them.

        Raises:
            BrokenPipeError: the command has ended.
        """
        self._held += data
        while len(self._held) >= PIECE:
            self._send(PIECE)

    def flush(self) -> None:
        """Send what is held back.

        Raises:
            BrokenPipeError: the command has ended.
        """
        if self._held:
            self._send(len(self._held))

    def close(self) -> None:
        """Say that nothing more comes.

        Raises:
            BrokenPipeError: the command has ended.
        """
        self.flush()
        self._upload("in.end", b"end")

    def _send(self, size: int) -> None:
        self._await_room()
        self._upload(f"in.{self._piece}", bytes(self._held[:size]))
        del self._held[:size]
        self._piece += 1

    def _await_room(self) -> None:
        """Wait until the command has read what was sent before."""
        name = self._command.path(f"in.{self._piece - WINDOW}").rpartition("/")[2]
        with self._command.consumed:
            while name in self._command.waiting and not self._command.over:
                self._session.cancel.check()
                self._command.consumed.wait(PAUSES[1])
        if self._command.over:
            raise BrokenPipeError("the command has ended")

    def _upload(self, name: str, data: bytes) -> None:
        """Write a file under its name once it is whole; Tools that start anew meanwhile are waited for."""
        path = self._command.path(name)
        deadline = time.monotonic() + AWAY
        while True:
            try:
                self._session.guest.upload(f"{path}.part", data)
                self._session.guest.rename(f"{path}.part", path)
                break
            except GuestFolderGone as error:
                raise BrokenPipeError("the guest is gone") from error
            except GuestAway as error:
                if time.monotonic() > deadline:
                    raise BrokenPipeError("the guest is gone") from error
                self._session.cancel.sleep(PAUSES[1])
        with self._command.consumed:
            self._command.waiting |= {path.rpartition("/")[2]}
