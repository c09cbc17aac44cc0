"""What users test their imagefiles and drivers with."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bakery.testing.contract import DriverContract
    from bakery.testing.folder.driver import FolderDriver
    from bakery.testing.machine import FakeFile, FakeMachine, Ran, UnforeseenCall

_HOMES: Final = {
    "DriverContract": "bakery.testing.contract",
    "FakeFile": "bakery.testing.machine",
    "FakeMachine": "bakery.testing.machine",
    "FolderDriver": "bakery.testing.folder.driver",
    "Ran": "bakery.testing.machine",
    "UnforeseenCall": "bakery.testing.machine",
}

__all__ = ["DriverContract", "FakeFile", "FakeMachine", "FolderDriver", "Ran", "UnforeseenCall"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: the folder driver is looked up by every command, and needs no fake machine."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
