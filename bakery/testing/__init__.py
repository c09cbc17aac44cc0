"""What users test their imagefiles and drivers with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bakery.util.lazy import lazy_names

if TYPE_CHECKING:
    from bakery.testing.contract import DriverContract
    from bakery.testing.folder.driver import FolderDriver
    from bakery.testing.machine import FakeFile, FakeMachine, Ran, UnforeseenCall

# The folder driver is looked up by every command, and needs no fake machine.
_HOMES: Final = {
    "DriverContract": "bakery.testing.contract",
    "FakeFile": "bakery.testing.machine",
    "FakeMachine": "bakery.testing.machine",
    "FolderDriver": "bakery.testing.folder.driver",
    "Ran": "bakery.testing.machine",
    "UnforeseenCall": "bakery.testing.machine",
}

__all__ = ["DriverContract", "FakeFile", "FakeMachine", "FolderDriver", "Ran", "UnforeseenCall"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
