"""What a suite depends on, on this host: the files that were imported, the configuration, and all that it reads."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from bakery.cache.inputs.modules import is_users
from bakery.smoke.job import Read
from bakery.smoke.read_inputs import ReadInputs

SETTINGS: Final = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
"""Where pytest looks for its settings, in this order. Source: pytest's "Configuration file formats"."""


class SuiteInputs:
    """Collects them, in this process and from workers.

    Args:
        root: the imagefile's folder.
    """

    def __init__(self, root: Path) -> None:
        self._read = ReadInputs(root, ())
        self._of_workers: list[Read] = []

    @contextmanager
    def watching(self) -> Generator[None]:
        """Watch what the user's code takes in meanwhile."""
        with self._read.watching():
            yield

    def add(self, inputs: Iterable[Read]) -> None:
        """Add what another process took in."""
        self._of_workers += inputs

    def found(self, config: pytest.Config) -> Iterator[Read]:
        """Yield what was taken in so far."""
        seen: set[tuple[str, str]] = set()
        settings = (("file", str(path), None) for path in _settings(config))
        modules = (("file", str(file), None) for file in _imported())
        for kind, name, look in (*settings, *modules, *self._read.found(), *self._of_workers):
            if (kind, name) not in seen:
                seen.add((kind, name))
                yield kind, name, look  # type: ignore[misc]  # a literal, where the text came through a worker's pipe


def _imported() -> Iterator[Path]:
    """Yield the user's source files that are imported: tests, conftest.py, what these import."""
    for name, module in sorted(sys.modules.items(), key=lambda each: each[0]):
        file = getattr(module, "__file__", None)
        if name != "__main__" and isinstance(file, str) and is_users(file):
            yield Path(file)


def _settings(config: pytest.Config) -> Iterator[Path]:
    """Yield the files that decide on pytest's settings, and a conftest.py in each folder down to the tests.

    Some are not there: when one is made, it counts.
    """
    root = config.rootpath
    if config.inipath is not None:
        yield config.inipath
    for folder in dict.fromkeys(each for path in _paths(config) for each in _down_to(root, path)):
        yield folder / "conftest.py"
        if config.inipath is None or folder.is_relative_to(config.inipath.parent):
            yield from (folder / name for name in SETTINGS if folder / name != config.inipath)


def _paths(config: pytest.Config) -> Iterator[Path]:
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        yield path if path.is_dir() else path.parent


def _down_to(root: Path, path: Path) -> Iterator[Path]:
    """Yield the folders from the root down to one; that one alone where it lies elsewhere."""
    if path.is_relative_to(root):
        yield from (each for each in reversed((path, *path.parents)) if each.is_relative_to(root))
    else:
        yield path
