"""What the tests of a suite will ask: what they asked when they ran last.

Only questions are kept, never an answer: by test, in a file beside pytest's own cache. A command that may change
something is kept as a bare mark, since nothing that comes behind it can be asked before it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from bakery.smoke.questions import is_question
from bakery.util.files import write_whole

VERSION: Final = 1
LONGEST: Final = 400
"""Bytes of a question that is kept."""
MOST: Final = 5000
"""Tests whose questions are kept."""


@dataclass(frozen=True)
class Asked:
    """A question that a test asked.

    Args:
        machine: which one was asked.
        question: what was run there.
        sudo: who it was run as: "" for root, None where `sudo` was not asked for.
    """

    machine: str
    question: str
    sudo: str | None = None

    @property
    def line(self) -> str:
        """What testinfra makes of it for a shell."""
        if self.sudo is None:
            return self.question
        user = f"-u {shlex.quote(self.sudo)} " if self.sudo else ""
        return f"sudo {user}/bin/sh -c {shlex.quote(self.question)}"


Entry: TypeAlias = Asked | None
"""None: a command that may have changed something."""


Wired: TypeAlias = dict[str, list[list[str | None] | None]]


class Foresight:
    """Knows what was asked in an earlier run, and notes what is asked in this one.

    Args:
        earlier: what each test asked.
    """

    def __init__(self, earlier: Mapping[str, Sequence[Entry]] | None = None) -> None:
        self.earlier: Mapping[str, Sequence[Entry]] = earlier or {}
        self.now: dict[str, list[Entry]] = {}
        self._test = ""
        self._following: Sequence[str] = ()
        self._place = 0
        self.turn = 0
        """Counts tests."""
        self.given = 0
        """The number of the round trip, of any machine, that the newest answer came by."""
        self._order = 0

    def next_order(self) -> int:
        """Return the number of a round trip that begins."""
        self._order += 1
        return self._order

    @property
    def asked(self) -> list[Asked]:
        """What this test has asked."""
        return [entry for entry in self.now.get(self._test, ()) if entry is not None]

    def begin(self, test: str, following: Sequence[str]) -> None:
        """Note that a test begins.

        Args:
            test: its name.
            following: those that will run behind it, as far as that is known.
        """
        self._test, self._following, self._place = test, following, 0
        self.turn += 1
        self.now[test] = []

    def note(self, entry: Entry) -> None:
        """Note what the test asks, or that it runs a command which may change something."""
        self.now.setdefault(self._test, []).append(entry)
        expected = self.earlier.get(self._test, ())
        for place in range(self._place, len(expected)):
            if expected[place] == entry:
                self._place = place + 1
                return

    def unsay(self) -> None:
        """Take back the last note: that question is too long, or its answer, to be asked ahead."""
        self.now[self._test].pop()

    def upcoming(self, machine: str) -> Iterator[tuple[int, Asked]]:
        """Yield what a machine will be asked next, with the test's turn, up to a command that may change something."""
        behind = self.earlier.get(self._test, ())[self._place :]
        for ahead, entries in enumerate((behind, *(self.earlier.get(test, ()) for test in self._following))):
            for entry in entries:
                if entry is None:
                    return
                if entry.machine == machine:
                    yield self.turn + ahead, entry


def load(file: Path) -> dict[str, list[Entry]]:
    """Read what was asked in earlier runs; nothing where that cannot be read."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["version"] != VERSION:
            return {}
        return from_wire(stored["tests"])
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def save(file: Path, earlier: Mapping[str, Sequence[Entry]], now: Mapping[str, Sequence[Entry]]) -> None:
    """Keep what was asked, for the next run.

    Args:
        file: where; its folder is made.
        earlier: what was known before; it holds for tests that did not run.
        now: what was asked this time.
    """
    others = {test: entries for test, entries in earlier.items() if test not in now}
    kept = {**others, **{test: entries for test, entries in now.items() if entries}}
    tests = to_wire({test: kept[test] for test in [*kept][-MOST:]})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps({"version": VERSION, "tests": tests}).encode())


def to_wire(tests: Mapping[str, Sequence[Entry]]) -> Wired:
    """Turn entries, by test, into what JSON, and a worker's pipe, can hold."""
    return {
        test: [None if entry is None else [entry.machine, entry.question, entry.sudo] for entry in entries]
        for test, entries in tests.items()
    }


def from_wire(tests: Mapping[str, Sequence[Any]]) -> dict[str, list[Entry]]:
    """Turn entries back, by test."""
    return {test: [_entry(each) for each in entries] for test, entries in tests.items()}


def _entry(stored: Any) -> Entry:
    """Read an entry. What is no question is not asked, whatever the file says."""
    if stored is None:
        return None
    machine, question, sudo = stored
    return Asked(machine, question, sudo) if is_question(question) else None
