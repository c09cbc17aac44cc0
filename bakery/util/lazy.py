"""Public names that are imported when they are first used, so that importing the package costs next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(door: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` (PEP 562) of a module whose names live elsewhere.

    Type checkers and editors do not see these: the module imports the same names `if TYPE_CHECKING`, and lists them in
    `__all__`.

    Args:
        door: the module's own name.
        homes: each public name, and the module that it is in; a module of the door's own is its own home.
    """

    def find(name: str) -> Any:
        try:
            home = homes[name]
        except KeyError:
            raise AttributeError(f"module {door!r} has no attribute {name!r}") from None
        module = import_module(home)
        value = module if home == f"{door}.{name}" else getattr(module, name)
        setattr(sys.modules[door], name, value)  # from now on it is found without us
        return value

    return find, lambda: sorted(homes)
