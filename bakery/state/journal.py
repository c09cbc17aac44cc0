"""The journal of a run: what was about to be made, what was made, what is gone, what is the user's.

One line a fact, written and fsynced *before* a thing is made; enough for any later process to destroy it. A line is
`{"v": 1, "n": 7, "time": ..., "op": "intend", "resource": {...}, "sum": "crc32 of the line without it"}`.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOSPC
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from bakery.errors import BakeryError
from bakery.model import Resource, from_json, to_json
from bakery.util.files import flush
from bakery.util.reserve import reserve_behind

VERSION = 1
ROOM = 64 << 10
"""Bytes that are set aside for lines to come: some hundred."""
Op = Literal["intend", "made", "gone", "kept", "held", "failed", "moved"]
LIVE: frozenset[str] = frozenset({"intend", "made", "held", "failed"})


class JournalDamaged(BakeryError):  # noqa: N818  what happened to the file
    """A journal has lines that cannot be read. Nothing is guessed from it silently."""

    exit_code = 10


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """The last thing known of one resource."""

    op: Op
    resource: Resource
    number: int


@dataclass(kw_only=True)
class Replay:
    """What a journal says, replayed.

    Args:
        entries: the last entry of each resource, in the order in which they were first intended.
        damaged: numbers of lines that cannot be read; a torn last line, cut short by a crash, does not count.
    """

    entries: list[JournalEntry] = field(default_factory=list[JournalEntry])
    damaged: list[int] = field(default_factory=list[int])

    def live(self) -> list[JournalEntry]:
        """Return what may still exist, oldest first."""
        return [entry for entry in self.entries if entry.op in LIVE]


def _identity(resource: Resource) -> tuple[str, str, str]:
    return (resource.driver, resource.kind, resource.key)


def encode(op: Op, resource: Resource, number: int, now: float) -> bytes:
    """Write one line, with its checksum."""
    shown = to_json(resource)
    body = {"v": VERSION, "n": number, "time": round(now, 3), "op": op, "resource": shown}
    text = json.dumps(body, separators=(",", ":"), sort_keys=True)
    return (
        json.dumps({**body, "sum": zlib.crc32(text.encode())}, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    )


def decode(line: bytes) -> tuple[Op, Resource]:
    """Read one line.

    Raises:
        ValueError: it is not whole, or not ours.
    """
    body: dict[str, Any] = json.loads(line)
    total = body.pop("sum", None)
    if total != zlib.crc32(json.dumps(body, separators=(",", ":"), sort_keys=True).encode()):
        raise ValueError("the checksum does not match")
    if body["v"] > VERSION:
        raise ValueError(f"written by a newer bakery (journal version {body['v']})")
    return body["op"], from_json(Resource, body["resource"])


def replay(path: Path) -> Replay:
    """Read a journal, also one of a dead or running process.

    A last line without its end was torn by a crash before the thing it speaks of was begun: it is left out.
    """
    replayed = Replay()
    places: dict[tuple[str, str, str], int] = {}
    data = path.read_bytes() if path.exists() else b""
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            op, resource = decode(line)
        except (ValueError, KeyError, TypeError):
            replayed.damaged.append(number)
            continue
        entry = JournalEntry(op=op, resource=resource, number=number)
        place = places.setdefault(_identity(resource), len(replayed.entries))
        replayed.entries[place : place + 1] = [entry]
    return replayed


class Journal:
    """One run's journal, open for writing by one process at a time.

    Args:
        folder: the run's folder; `journal.jsonl` and `lock` are in it.
        observe: called after each durable line, with its op and resource.

    Raises:
        BlockingIOError: another process has it open.
        OSError: it is a new one, and the disk is full.
    """

    def __init__(self, folder: Path, observe: Callable[[Op, Resource], None] = lambda _op, _resource: None) -> None:
        self.path = folder / "journal.jsonl"
        self._observe = observe
        self._guard = threading.Lock()
        self._lock = lock(folder)
        self._number = sum(1 for _ in self._whole_lines())
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._reserved = 0
        with suppress(*([OSError] if self._number else [])):  # `bake gc` must go on where the disk is full
            self._reserve()
        flush(folder)

    def _reserve(self) -> None:
        """Have room for the lines to come: that something is gone, or kept, is written also when the disk is full."""
        size = os.fstat(self._file).st_size
        if size + ROOM // 2 > self._reserved:
            reserve_behind(self._file, ROOM)
            self._reserved = size + ROOM

    def _whole_lines(self) -> Iterator[bytes]:
        """Count lines, and cut off a torn last one so that nothing is ever written behind it."""
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(self.path, whole)
        yield from data[:whole].splitlines()

    def write(self, op: Op, resource: Resource) -> None:
        """Write one line; it is on the disk when this returns."""
        crash_point("before", op, resource)
        with self._guard:
            self._number += 1
            _append(self._file, encode(op, resource, self._number, time.time()))
            os.fsync(self._file)
            with suppress(OSError):  # there is half of it left
                self._reserve()
        crash_point("after", op, resource)
        self._observe(op, resource)

    def intend(self, resource: Resource) -> None:
        """Write that a thing is about to be made."""
        self.write("intend", resource)

    def made(self, resource: Resource) -> None:
        """Write that it exists."""
        self.write("made", resource)

    def gone(self, resource: Resource) -> None:
        """Write that it exists no more."""
        self.write("gone", resource)

    def kept(self, resource: Resource) -> None:
        """Write that it is the user's from now on."""
        self.write("kept", resource)

    def held(self, resource: Resource) -> None:
        """Write that it is left on purpose (`--on-failure=keep`); only a `bake gc` that names the run takes it."""
        self.write("held", resource)

    def moved(self, resource: Resource) -> None:
        """Write that another run is responsible for it from now on (`--resume`)."""
        self.write("moved", resource)

    def failed(self, resource: Resource) -> None:
        """Write that destroying it failed."""
        self.write("failed", resource)

    def close(self) -> None:
        """Close and unlock; what was set aside is given back."""
        with suppress(OSError):
            os.ftruncate(self._file, os.fstat(self._file).st_size)
        os.close(self._file)
        os.close(self._lock)

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def lock(folder: Path) -> int:
    """Lock a run's folder for this process; the kernel lets go of it when the process dies, however it dies.

    Raises:
        BlockingIOError: a live process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(folder: Path) -> bool:
    """Say whether a live process works on this run."""
    try:
        os.close(lock(folder))
    except BlockingIOError:
        return True
    return False


def _append(file: int, line: bytes) -> None:
    """Write a whole line or none: where the disk is full, no part of one stays for the next to be written behind.

    Raises:
        OSError: it cannot be written.
    """
    before = os.fstat(file).st_size
    written = os.write(file, line)
    if written != len(line):
        os.ftruncate(file, before)
        raise OSError(ENOSPC, os.strerror(ENOSPC), "the journal")


def crash_point(moment: str, op: Op, resource: Resource) -> None:
    """Die here when a test asks for it: `BAKERY_CRASH_AT=12` kills at the 12th point of the process, as SIGKILL does.

    Two points a line: before it is written and after. Costs one look-up in the environment; the kill matrix of
    `bakery.testing` is what makes the promise of clean-up a tested one.
    """
    wanted = os.environ.get("BAKERY_CRASH_AT")
    if wanted is None:
        return
    global _points  # noqa: PLW0603  counts per process, only under test
    _points += 1
    if trace := os.environ.get("BAKERY_CRASH_TRACE"):
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(f"{_points} {moment} {op} {resource}\n")
    if int(wanted) == _points:
        os.kill(os.getpid(), 9)


_points = 0
