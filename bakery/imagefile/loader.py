"""Finding the imagefile and importing it, with every failure turned into file, line and hint."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import zlib
from collections.abc import Callable
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from bakery.errors import BakeryError, ImagefileError, Location, UsageError
from bakery.imagefile import call_mistakes, recipe
from bakery.imagefile.marks import listening, location_of, name_of
from bakery.imagefile.user_code import UserCodeExit, call_user_code, describe, user_line
from bakery.util.suggestions import did_you_mean

FILE = "imagefile.py"
_PYTHONS_OWN = (Path(os.__file__).parent, Path(__file__).parents[1])
"""Python's library and this package: below an imagefile's folder where that is `/`."""


def find(start: Path, file: str | None = None) -> Path:
    """Return the imagefile's absolute path.

    Args:
        start: where to look first; its parents follow.
        file: the file the user named, relative to `start`; then nothing is searched.

    Raises:
        UsageError: there is none.
    """
    start = start.resolve()
    if file is not None:
        named = (start / file).resolve()
        if not named.is_file():
            raise UsageError(f"no imagefile at {named}", hint="check the path after -f and the folder after -C")
        return named
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder / FILE
    raise UsageError(
        f"no {FILE} in {start} or a folder above it",
        hint="`bake init` writes a first one; `bake -f FILE` names another",
    )


def load(file: Path) -> recipe.Recipe:
    """Import an imagefile as an ordinary module and read its marks.

    Raises:
        ImagefileError: it does not import, or is wrong.
    """
    with listening() as marks:
        module = import_module(file)
    return recipe.read(module, file, marks)


def module_name(file: Path) -> str:
    """Return the name under which an imagefile is imported: the same in every process, another for every path."""
    return f"imagefile_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"


class _FreshLoader(SourceFileLoader):
    """Reads the file itself: bytecode of the same second and size would be taken for it."""

    def path_stats(self, path: str) -> NoReturn:
        """Tell nothing that bytecode could be compared with, so that none is read or written."""
        raise OSError(path)


class _HelperLoader(SourceFileLoader):
    """Compares bytecode with what a file holds: a step's key is made of that, and its date and size may be another's,
    as after an edit in the same second or in a tree whose dates are all set to one.
    """

    def path_stats(self, path: str) -> dict[str, int]:
        """Return the file's checksum in the place of its date."""
        data = self.get_data(path)
        return {"mtime": zlib.crc32(data), "size": len(data)}


class _HelperFinders:
    """Finds modules in the folders of projects, and below; what is installed there is left to Python."""

    def __init__(self) -> None:
        self._folders: set[Path] = set()

    def add(self, folder: Path) -> None:
        """Look after a project's folder from now on."""
        if self not in sys.path_hooks:
            sys.path_hooks.insert(0, self)
        self._folders.add(folder)
        for path in [path for path in sys.path_importer_cache if Path(path).is_relative_to(folder)]:
            del sys.path_importer_cache[path]

    def __call__(self, path: str) -> FileFinder:
        """Return what finds modules in a folder; raises ImportError where that is not for us."""
        here = Path(path)
        if not any(map(here.is_relative_to, self._folders)) or any(map(here.is_relative_to, _PYTHONS_OWN)):
            raise ImportError(path)
        if not {"site-packages", "dist-packages"}.isdisjoint(here.parts):
            raise ImportError(path)
        return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_HelperLoader, SOURCE_SUFFIXES))


_HELPERS = _HelperFinders()


def import_module(file: Path, loader: Any = None, *, name: str = "") -> ModuleType:
    """Import an imagefile.

    Args:
        file: its path.
        loader: what imports it in place of Python's own loader.
        name: the module's, for another file than the imagefile itself.

    Raises:
        ImagefileError: it does not import, whatever it raises.
    """
    folder, package = _package_of(file.parent)
    called = name or f"{package}{module_name(file)}"
    if loader is None and file.suffix == ".py":
        loader = _FreshLoader(called, str(file))
    spec = importlib.util.spec_from_file_location(called, file, loader=loader)
    if spec is None or spec.loader is None:
        raise ImagefileError(f"{file} is not a Python file", hint="an imagefile's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    if not name:
        _forget_helpers(folder)
        _HELPERS.add(folder)
    for path in (str(folder), str(file.parent)):
        if path not in sys.path:
            sys.path.insert(0, path)  # helper modules beside the imagefile import as anywhere else
    sys.modules[spec.name] = module
    try:
        call_user_code(partial(spec.loader.exec_module, module))
    except ImagefileError as error:
        error.where = error.where or user_line(error) or Location(file, 1)
        raise
    except BakeryError as error:
        where = error.where or user_line(error) or Location(file, 1)
        raise ImagefileError(error.what, why=error.why, hint=error.hint, where=where) from error
    except SyntaxError as error:
        raise _syntax_error(file, error) from error
    except Exception as error:
        raise _explained(file, error) from error
    return module


def _package_of(folder: Path) -> tuple[Path, str]:
    """Return what is to be on Python's path, and the dotted prefix of the package that a folder is; else an empty one.

    With it, an imagefile in a package may say `from . import common`.
    """
    names: list[str] = []
    while (folder / "__init__.py").is_file() and "." not in folder.name and folder != folder.parent:  # `web-images` too
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, "".join(f"{name}." for name in names)


def _syntax_error(file: Path, error: SyntaxError) -> ImagefileError:
    if error.filename is None or not Path(error.filename).is_file():  # of a text that the imagefile compiles, say
        return _explained(file, error)
    where = Location(Path(error.filename), error.lineno or 1)
    return ImagefileError(f"syntax error: {error.msg}", why=(error.text or "").strip(), where=where)


def _forget_helpers(folder: Path) -> None:
    """Drop the user's helper modules, so that loading again after a fix sees the fix."""
    inside = os.path.join(folder, "")  # noqa: PTH118  with a separator at its end; text, as there are hundreds
    for name, module in list(sys.modules.items()):
        origin = str(getattr(module, "__file__", None) or "")
        if origin.startswith(inside) and "site-packages" not in origin and name != "__main__":
            if name.split(".")[0] in ("bakery", "conftest") or name.startswith(("test_", "tests")):
                continue
            del sys.modules[name]


def _explained(file: Path, error: BaseException) -> ImagefileError:
    where = user_line(error) or Location(file, 1)
    if isinstance(error, ModuleNotFoundError):
        return ImagefileError(
            f"cannot import {error.name}",
            where=where,
            hint="install it in the environment that runs bake, or put the module beside the imagefile",
        )
    if isinstance(error, ImportError | AttributeError) and (wrong := _missing_name(error)) is not None:
        module, name, names = wrong
        hint = did_you_mean(name, names, otherwise="there are") if names else ""
        if module == "bakery.drivers" and hint.startswith("there are"):
            hint += '; other systems are cloud images: CloudImage("https://...", checksum=...)'
        return ImagefileError(f"{module} has no {name}", where=where, hint=hint)
    verb, why, hint = describe(error)
    verb = f"{verb} on import" if isinstance(error, UserCodeExit) else "raises on import"
    who = file.name if file.name == "conftest.py" else "the imagefile"
    return _told(f"{who} {verb}", error, why, hint, where)


def _missing_name(error: ImportError | AttributeError) -> tuple[str, str, list[str]] | None:
    """Return the module of ours that was asked for a name, the name, and what the module has."""
    match = re.search(
        r"cannot import name '(\w+)' from '([\w.]+)'|module '([\w.]+)' has no attribute '(\w+)'", str(error)
    )
    if match is None:
        return None
    name, module = match[1] or match[4], match[2] or match[3]
    if module.partition(".")[0] != "bakery":
        return None
    return module, name, [*getattr(sys.modules.get(module), "__all__", ())]


def _told(what: str, error: BaseException, why: str, hint: str, where: Location | None) -> ImagefileError:
    if isinstance(error, TypeError):
        if (left_out := call_mistakes.left_out(error)) is not None:
            return ImagefileError(left_out.what, hint=left_out.hint, where=where)
        hint = call_mistakes.keyword_hint(error)
    if not isinstance(error, UserCodeExit):
        why = f"{type(error).__name__}: {why}"
    return ImagefileError(what, why=why, hint=hint, where=where)


def explained_call(kind: str, function: Callable[..., object], error: Exception) -> ImagefileError:
    """Explain what a source or image function raised while the plan was made."""
    where = user_line(error) or location_of(function)
    verb, why, hint = describe(error)
    verb = verb if isinstance(error, UserCodeExit) else "raises"
    return _told(f"{kind} {name_of(function)} {verb}", error, why, hint, where)
