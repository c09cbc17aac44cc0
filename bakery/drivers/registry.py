"""Finding drivers by name: ours in a table, others through entry points; imported only when used."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bakery.drivers.base import Driver
from bakery.errors import PreflightError, UsageError
from bakery.util.extras import install_hint
from bakery.util.suggestions import nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "bakery.drivers"
OURS: Final = {
    "ec2": "bakery.drivers.ec2.driver:Ec2Driver",
    "folder": "bakery.testing.folder.driver:FolderDriver",
    "nspawn": "bakery.drivers.nspawn.driver:NspawnDriver",
    "openstack": "bakery.drivers.openstack.driver:OpenStackDriver",
    "qemu": "bakery.drivers.qemu.driver:QemuDriver",
    "virtualbox": "bakery.drivers.virtualbox.driver:VirtualBoxDriver",
    "vsphere": "bakery.drivers.vsphere.driver:VSphereDriver",
}
"""As in pyproject.toml. To ask all installed packages for their entry points takes longer than to load a driver."""


EXTRAS: Final = {"ec2": "aws", "openstack": "openstack", "vsphere": "vmware"}
"""Which extra of `pyproject.toml` brings a driver's library."""


class Registry:
    """The drivers of one process, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, Driver[Any]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """All that are installed, by name."""
        return sorted({*OURS, *(point.name for point in _entry_points())})

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
                self._made[name] = self._driver_class(name)()
            return self._made[name]

    def _driver_class(self, name: str) -> type[Driver[Any]]:
        places = [OURS[name]] if name in OURS else [point.value for point in _entry_points() if point.name == name]
        if not places:
            raise PreflightError(
                f"there is no driver {name!r}",
                why=f"installed are: {', '.join(self.names())}",
                hint="install the package that brings it",
            )
        return _load(name, places[0])


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _needs(name: str) -> str:
    """Return how to get what a driver imports."""
    if name in EXTRAS:
        return install_hint(EXTRAS[name])
    return "install what it imports, beside bakery; the package that brings the driver says what that is"


def _load(name: str, place: str) -> type[Driver[Any]]:
    """Import a class that is named as in an entry point: `module:Class`."""
    module, _, attribute = place.partition(":")
    try:
        driver: type[Driver[Any]] = getattr(import_module(module), attribute)
    except ImportError as error:
        raise PreflightError(f"the driver {name} cannot be loaded", why=f"{error}", hint=_needs(name)) from error
    return driver
