"""What tests take in while they run: local files, environment variables, variables. Watched as a step is."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from bakery.cache.inputs.modules import users_files
from bakery.cache.inputs.tracer import Tracer
from bakery.smoke.job import Read

T = TypeVar("T")


class ReadInputs:
    """A pytest plugin object that collects what tests, and the fixtures that they share, take in.

    Args:
        root: the imagefile's folder.
        followed: files of which only the code that tests reach counts; that is found by following it.
    """

    def __init__(self, root: Path, followed: Collection[Path]) -> None:
        self._root = root
        self._followed = frozenset(followed)
        self._tracer = Tracer(root)
        self._shares = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Watch the tests."""
        with self.watching():
            return (yield)

    @contextmanager
    def sharing(self) -> Generator[None]:
        """Watch the import of what several imagefiles may share: a conftest.py, and all that it imports."""
        self._shares = True
        with self.watching():
            yield

    def variables(self, v: T) -> T:
        """Return an object that is `v`, and remembers which variables are asked for."""
        return self._tracer.variables(v)

    def found(self) -> Iterator[Read]:
        """Yield what was taken in so far; not what lies in a temporary folder, which is nobody's to change."""
        if self._shares:
            for file in sorted({*users_files(self._root)} - self._followed):
                yield "file", str(file), None
        for (kind, name), look in sorted(self._tracer.read.items()):
            if kind in ("env", "environ", "variable") or not self._is_temporary(Path(name)):
                yield kind, name, look

    def _is_temporary(self, path: Path) -> bool:
        return path.is_relative_to(tempfile.gettempdir()) and not path.is_relative_to(self._root)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Watch what the user's code takes in meanwhile."""
        tracer = Tracer(self._root)
        tracer.read = self._tracer.read
        with tracer:
            yield
