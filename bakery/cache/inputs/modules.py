"""Whose code is it: the user's, which is followed, or a package's, which counts by its name and version."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def _foreign() -> tuple[Path, ...]:
    own = Path(__file__).parents[2]
    return (
        own,
        *(Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))),
    )


@cache
def is_users(file: str | None) -> bool:
    """Say whether a source file is the user's: not Python's, not an installed package's, not bakery's."""
    if not file or file.startswith("<"):
        return False
    path = Path(file)
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    resolved = path.resolve()
    return not any(resolved.is_relative_to(folder) or path.is_relative_to(folder) for folder in _foreign())


def is_users_module(name: str | None) -> bool:
    """Say the same of an imported module."""
    return is_users(getattr(sys.modules.get(name or ""), "__file__", None))


def is_packaged(name: str) -> bool:
    """Say whether a module belongs to an installed package: neither the user's nor Python's own."""
    return name.partition(".")[0] not in sys.stdlib_module_names | {"builtins"} and not is_users_module(name)


def lies_in_users_files(name: str) -> bool:
    """Say the same of a module that need not be imported yet, by looking where its package would come from."""
    top = name.partition(".")[0]
    if top in sys.modules:
        module = sys.modules[top]
        return is_users(getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None))
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    return is_users(spec.origin or next(iter(spec.submodule_search_locations or []), None))


@cache
def package(name: str) -> str:
    """Return what stands for a foreign module: `python 3.11`, `requests 2.32.3`."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "builtins":
        return f"python {sys.version_info.major}.{sys.version_info.minor}"
    from importlib import metadata  # slow to load, and most images use nothing but Python

    if top == "bakery":
        top = "imagebakery"
    try:
        return f"{top} {metadata.version(top)}"
    except metadata.PackageNotFoundError:
        pass
    if isinstance(version := getattr(sys.modules.get(top), "__version__", None), str):
        return f"{top} {version}"
    for distribution in metadata.packages_distributions().get(top, ()):  # slow, thus last
        return f"{distribution} {metadata.version(distribution)}"
    return f"{top} ?"


def users_files(folder: Path) -> Iterator[Path]:
    """Yield the source files of the user's modules that are imported: the imagefile, and its helpers.

    Args:
        folder: the imagefile's.
    """
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and isinstance(file, str) and is_users(file):
            path = Path(file)
            if path.is_relative_to(folder) or name.partition(".")[0] not in ("conftest", "tests"):
                yield path


def label(file: str, root: Path) -> str:
    """Return a source file's name in messages and keys: the same in every checkout."""
    path = Path(file)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def module_file(module: ModuleType) -> str:
    """Return the module's source file; a name in its place for one that was put together in memory."""
    return getattr(module, "__file__", None) or f"<{module.__name__}>"
