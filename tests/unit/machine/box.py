"""A machine in memory: it answers the lines that `Machine` sends, over a transport that leads nowhere."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import re
import shlex
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

import pytest

import bakery.machine.transport.ssh
from bakery import Machine
from bakery.errors import DriverError, NotYet
from bakery.events import Event, Notice, Output, Waiting
from bakery.machine import reboot
from bakery.machine.transport.base import Transport
from bakery.machine.transport.link import Link
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Result
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
from bakery.util.results import Lost, OnOutput, TimedOut
from bakery.util.streams import chunks
from bakery.util.waiting import Cancel
from tests.unit.clock import Clock

KEYS = Keys(user_private="", user_public="ssh-ed25519 AAAA bakery-box", host_private="", host_public="")
Answer: TypeAlias = "str | int | Result | Exception | Callable[[Asked], str | int | Result]"


@dataclass(frozen=True)
class Asked:
    """A line that came to the machine."""

    line: str
    input: bytes
    timeout: float | None

    @property
    def command(self) -> str:
        """What is run in the end, without what stands before it."""
        return _innermost(self.line)

    @property
    def words(self) -> list[str]:
        """The words of one of our own commands."""
        return shlex.split(self.command)


@dataclass
class StoredFile:
    """A file on the machine."""

    data: bytes
    mode: str = ""
    owner: str = ""
    is_sparse: bool = False


@dataclass
class Box:
    """The machine: what it answers, what it was asked, what is on it."""

    login: str = "root"
    round_trip: float = 0.0
    chunk: int = 3
    asked: list[Asked] = field(default_factory=list[Asked])
    files: dict[str, StoredFile] = field(default_factory=dict[str, StoredFile])
    folders: set[str] = field(default_factory=set[str])
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict[str, tarfile.TarInfo])
    boot: int = 1
    dead: str = ""
    refuses: list[NotReached] = field(default_factory=list[NotReached])
    connections: int = 0
    events: list[Event] = field(default_factory=list[Event])
    endpoint: Endpoint = field(default_factory=Endpoint)
    tar: str = "tar (GNU tar) 1.34\n"
    _answers: list[tuple[str, list[Answer]]] = field(default_factory=list[tuple[str, list[Answer]]])
    _wires: list[Wire] = field(default_factory=list["Wire"])

    def answer(self, pattern: str, *answers: Answer) -> Box:
        """Foresee a command: its answers one after the other, the last one again and again."""
        self._answers.insert(0, (pattern, list(answers)))
        return self

    @property
    def commands(self) -> list[str]:
        """What was run."""
        return [asked.command for asked in self.asked]

    @property
    def output(self) -> list[tuple[str, str]]:
        """What the user saw."""
        return [(event.stream, event.text) for event in self.events if isinstance(event, Output)]

    @property
    def waits(self) -> list[str]:
        """What the user was told is being waited for."""
        return [event.what for event in self.events if isinstance(event, Waiting)]

    @property
    def notices(self) -> list[str]:
        """What else the user was told."""
        return [event.message for event in self.events if isinstance(event, Notice)]

    def machine(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, cancel: Cancel | None = None) -> Machine:
        """Return a `Machine` that works on it, over a real `Link`."""
        monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", Door(self))
        work = WorkContext(cache=folder, cancel=cancel or Clock(monkeypatch), emit=self.events.append)
        return Machine(Link(self.where, KEYS, work, timeout=60), folder, work, step="step")

    def where(self) -> Endpoint:
        """Say how to reach it, as a driver does."""
        if self.dead:
            raise DriverError("the machine is gone", why=self.dead)
        if self.endpoint.host == "nowhere":
            raise NotYet("it has no address")
        return self.endpoint

    def restart(self) -> None:
        """Begin another boot; all connections end."""
        self.boot += 1
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        for wire in self._wires:
            wire.close()

    def reply(self, asked: Asked) -> Result:
        """Answer a line."""
        self.asked.append(asked)
        for pattern, answers in self._answers:
            if asked.command == pattern or fnmatch.fnmatchcase(asked.command, pattern):
                given = answers.pop(0) if len(answers) > 1 else answers[0]
                return _as_result(given(asked) if callable(given) else given)
        if asked.line == reboot.IDENTITY:
            return Result(command="", exited=0, stdout=f"boot-{self.boot}\n4711\n")
        if asked.line == reboot.STATE:
            return Result(command="", exited=0, stdout="running\n")
        if "tar --version" in asked.command:
            return Result(command="", exited=0, stdout=self.tar)
        helper = {"bakery-put": self._put, "bakery-get": self._get, "bakery-copy": self._copy}
        words = asked.words
        if len(words) > 3 and (serve := helper.get(words[3])):
            return serve(words[4:], asked.input)
        raise AssertionError(f"nobody foresaw {asked.command!r}")

    def _put(self, words: list[str], data: bytes) -> Result:
        dest, name, mode, owner, size, sha256, holes, key = words
        path = f"{dest.rstrip('/')}/{name}" if dest.rstrip("/") in self.folders or not dest else dest
        if len(data) != int(size):
            return Result(command="", exited=1, stderr=f"{path}: {len(data)} bytes of {size} came\n")
        if hashlib.sha256(data).hexdigest() != sha256:
            return Result(command="", exited=1, stderr=f"{path}: other bytes came\n")
        self.files[path] = StoredFile(data, mode, owner, bool(holes))
        return Result(command="", exited=0, stdout=f"a start file talks\n{key}{path}{key}")

    def _get(self, words: list[str], _: bytes) -> Result:
        if words[0] not in self.files:
            return Result(command="", exited=1, stderr=f"cat: {words[0]}: No such file or directory\n")
        data = self.files[words[0]].data
        digest = f"{hashlib.sha256(data).hexdigest()}  -\n"
        return Result(command="", exited=0, stdout=data.decode("latin-1"), stderr=digest)

    def _copy(self, words: list[str], data: bytes) -> Result:
        dest = words[0]
        if len(words[2]) == 16:
            names = data.decode().splitlines()
            there = [str(number) for number, name in enumerate(names, 1) if f"{dest}/{name}" in self.folders]
            key, owner = words[2], "33 33" if words[1] else "0 0"
            return Result(command="", exited=0, stdout=f"{key}{' '.join([owner, *there])}{key}")
        plain = gzip.decompress(data) if words[1] == "z" else data
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            for member in tar:
                self.members[f"{dest}/{member.name}"] = member
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    self.files[f"{dest}/{member.name}"] = StoredFile(file.read(), f"{member.mode:o}")
        return Result(command="", exited=0, stdout=f"{hashlib.sha256(data).hexdigest()} *stdin\n")


class Door:
    """Stands in for the class `SshTransport`."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def __call__(self, *_: object) -> Wire:
        if self._box.refuses:
            raise self._box.refuses.pop(0)
        self._box.connections += 1
        return Wire(self._box)

    def close(self, wire: Wire) -> None:
        """Close one that nobody waits for any more."""
        wire.close()


class Wire(Transport):
    """One connection to a box."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._open = True
        box._wires.append(self)

    @property
    def user(self) -> str:
        """The login user."""
        return self._box.login

    @property
    def alive(self) -> bool:
        """False after the end."""
        return self._open

    def close(self) -> None:
        """End it."""
        self._open = False

    def round_trip(self) -> float:
        """As the test says."""
        return self._box.round_trip

    def run(
        self,
        command: str,
        *,
        input: bytes | IO[bytes] | None = None,  # noqa: A002  as in the base class
        timeout: float | None = None,
        on_output: OnOutput | None = None,
        collect: bool = True,
    ) -> Result:
        """Hand the line to the box, and its answer on in small pieces."""
        assert self._open, "a closed connection was used"
        result = self._box.reply(Asked(command, _own_input(command, b"".join(chunks(input or b""))), timeout))
        binary = "latin-1" if _innermost(command).find("bakery-get") > 0 else "utf-8"
        out, err = result.stdout.encode(binary), result.stderr.encode()
        for stream, data in (("stdout", out), ("stderr", err)):
            for at in range(0, len(data), self._box.chunk):
                if on_output is not None:
                    on_output(stream, data[at : at + self._box.chunk])  # type: ignore[arg-type]  # the two literals
        told = Result(
            command=command, exited=result.exited, stdout=result.stdout if collect else "", stderr=result.stderr
        )
        if result.exited == -1:
            raise TimedOut(told)
        if not self._open:
            raise Lost("the connection ended under the command")
        return told


def _own_input(line: str, data: bytes) -> bytes:
    """Take off the proof of `Command.line` that the input is the one that was sent."""
    end = re.search(r"!= (bakery-[0-9a-f]{16}) \]", line)
    return data.removeprefix(f"{end[1]}\n".encode()) if end else data


def _innermost(line: str) -> str:
    """Take off what `Command.line` puts around a command."""
    try:
        words = shlex.split(line)
    except ValueError:
        return line
    for word in words:
        if word.startswith("u="):
            return _innermost(word[2:])
    if "umask" not in words:
        return line
    for at, word in enumerate(words):
        if word.startswith("c="):
            return word[2:]
        if word == "exec":
            return shlex.join(words[at + 1 :])
    return line


def _as_result(given: str | int | Result | Exception) -> Result:
    match given:
        case Exception():
            raise given
        case str():
            return Result(command="", exited=0, stdout=given)
        case int():
            return Result(command="", exited=given)
    return given
