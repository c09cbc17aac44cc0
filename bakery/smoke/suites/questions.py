"""What a suite's tests ask, from one run to the next; see `Foresight`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from bakery.smoke.foresight import Asked, Entry, Foresight, Wired, from_wire, load, save, to_wire

FILE: Final = "bakery-questions.json"


class SuiteQuestions:
    """A pytest plugin object that says which test runs, and which will.

    Args:
        folder: of pytest's cache.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.foresight = Foresight(load(self._file))
        self._places: dict[str, int] = {}
        self._order: list[str] = []
        self._of_workers: dict[str, list[Entry]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Note that a test begins. A worker knows the next one alone, and that only."""
        if not self._order:
            self._order = [each.nodeid for each in item.session.items]
            self._places = {name: place for place, name in enumerate(self._order)}
        following: Sequence[str] = self._order[self._places.get(item.nodeid, len(self._order)) + 1 :]
        if nextitem is None or not following or following[0] != nextitem.nodeid:
            following = [nextitem.nodeid] if nextitem is not None else []
        self.foresight.begin(item.nodeid, following)

    def add(self, tests: Mapping[str, Sequence[Any]]) -> None:
        """Take what was asked in a worker."""
        self._of_workers.update(from_wire(tests))

    def to_wire(self) -> Wired:
        """Return what was asked here, for the first process."""
        return to_wire(self.foresight.now)

    def save(self, is_secret: Callable[[str], bool]) -> None:
        """Keep it for the next run; nothing that has a secret in it.

        Args:
            is_secret: says whether a text has one.
        """
        asked = {**self.foresight.now, **self._of_workers}
        now = {test: [entry for entry in entries if not _tells(entry, is_secret)] for test, entries in asked.items()}
        if any(now.values()):
            save(self._file, self.foresight.earlier, now)


def _tells(entry: Entry, is_secret: Callable[[str], bool]) -> bool:
    return isinstance(entry, Asked) and is_secret(entry.question)
