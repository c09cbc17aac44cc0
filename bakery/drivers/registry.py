"""Finding drivers by name: through entry points, ours too, and imported only when used."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bakery.drivers.base import Driver
from bakery.errors import PreflightError, UsageError
from bakery.util.suggestions import nearest

GROUP = "bakery.drivers"


class Registry:
    """The drivers of one process, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, Driver[Any]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """All that are installed, by name."""
        return sorted(point.name for point in entry_points(group=GROUP))

    def check(self, names: Iterable[str]) -> None:
        """Refuse names on a command line that no driver has.

        Raises:
            UsageError: with those that are installed.
        """
        known = {*self.names(), *self._made}
        for name in sorted({*names} - known):
            near = nearest(name, sorted(known))
            hint = f"installed are: {', '.join(sorted(known))}"
            raise UsageError(f"there is no driver {name!r}", hint=f"did you mean {near}? {hint}" if near else hint)

    def add(self, driver: Driver[Any]) -> None:
        """Use this very driver for its name: for tests, and for drivers without an entry point."""
        with self._lock:
            self._made[driver.name] = driver

    def get(self, name: str) -> Driver[Any]:
        """Return a driver.

        Raises:
            PreflightError: it is not installed, or one of its libraries is missing.
        """
        with self._lock:
            if name not in self._made:
                self._made[name] = _load(self._point(name))()
            return self._made[name]

    def _point(self, name: str) -> EntryPoint:
        found = [point for point in entry_points(group=GROUP) if point.name == name]
        if not found:
            raise PreflightError(
                f"there is no driver {name!r}",
                why=f"installed are: {', '.join(self.names())}",
                hint="install the package that brings it",
            )
        return found[0]


def _load(point: EntryPoint) -> type[Driver[Any]]:
    try:
        driver: type[Driver[Any]] = point.load()
    except ImportError as error:
        raise PreflightError(
            f"the driver {point.name} cannot be loaded", why=f"{error}", hint=f"pip install 'imagebakery[{point.name}]'"
        ) from error
    return driver
