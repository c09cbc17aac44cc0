"""Finding the imagefile and importing it, with every failure turned into file, line and hint."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from bakery.errors import BakeryError, ImagefileError, Location, UsageError
from bakery.imagefile import recipe

FILE = "imagefile.py"


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
    return recipe.read(_import(file), file)


def module_name(file: Path) -> str:
    """Return the name under which an imagefile is imported: the same in every process, another for every path."""
    return f"imagefile_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _import(file: Path) -> ModuleType:
    name = module_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImagefileError(f"{file} is not a Python file", hint="an imagefile's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    _forget_helpers(file.parent)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))  # helper modules beside the imagefile import as anywhere else
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BakeryError as error:
        error.where = error.where or user_line(file.parent, error)
        raise
    except SyntaxError as error:
        where = Location(Path(error.filename or file), error.lineno or 1)
        raise ImagefileError(f"syntax error: {error.msg}", why=(error.text or "").strip(), where=where) from error
    except (Exception, SystemExit) as error:
        raise _explained(file, error) from error
    return module


def _forget_helpers(folder: Path) -> None:
    """Drop the user's helper modules, so that loading again after a fix sees the fix."""
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin and Path(origin).is_relative_to(folder) and "site-packages" not in origin and name != "__main__":
            if name.split(".")[0] in ("bakery", "conftest") or name.startswith(("test_", "tests")):
                continue
            del sys.modules[name]


def user_line(folder: Path, error: BaseException) -> Location | None:
    """Return the last line of the user's own files that an error came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
    return Location(Path(frames[-1].filename), frames[-1].lineno or 1) if frames else None


def _explained(file: Path, error: BaseException) -> ImagefileError:
    where = user_line(file.parent, error) or Location(file, 1)
    if isinstance(error, ModuleNotFoundError):
        return ImagefileError(
            f"cannot import {error.name}",
            where=where,
            hint="install it in the environment that runs bake, or put the module beside the imagefile",
        )
    hint = _keyword_hint(error) if isinstance(error, TypeError) else ""
    what = "the imagefile calls sys.exit" if isinstance(error, SystemExit) else "the imagefile raises on import"
    return ImagefileError(what, why=f"{type(error).__name__}: {error}", hint=hint, where=where)


def explained_call(kind: str, function: Callable[..., object], error: Exception) -> ImagefileError:
    """Explain what a source or image function raised while the plan was made."""
    file = Path(function.__code__.co_filename) if hasattr(function, "__code__") else Path("?")
    where = user_line(file.parent, error)
    hint = _keyword_hint(error) if isinstance(error, TypeError) else ""
    name = getattr(function, "__name__", repr(function))
    return ImagefileError(f"{kind} {name} raises", why=f"{type(error).__name__}: {error}", hint=hint, where=where)


def _keyword_hint(error: TypeError) -> str:
    """Suggest the keyword that was meant: `@bakery.task(retires=2)`, `Qemu(memmory="2G")`."""
    match = re.match(r"(?:\w+\.)*?(\w+?)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not match:
        return ""
    called, wrong = match.groups()
    known = _keywords(called, error)
    near = get_close_matches(wrong, known, n=1)
    if near:
        return f"did you mean {near[0]}= ?"
    return f"{called} takes: {', '.join(known)}" if known else ""


def _keywords(called: str, error: TypeError) -> list[str]:
    """The keywords of what was called: as the caller knows it by its name, else as one of our modules does."""
    message = str(error)
    if "; it knows " in message:
        return message.rsplit("; it knows ", 1)[1].split(", ")
    for space in (*_callers(error), *_modules()):
        thing = space.get(called)
        if callable(thing):
            return [name for name in inspect.signature(thing).parameters if name != "self"]
    return []


def _callers(error: TypeError) -> Iterator[Mapping[str, Any]]:
    """The names that are known where the call was made, which never came as far as to have a frame of its own."""
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        yield frame.f_locals
        yield frame.f_globals


def _modules() -> Iterator[Mapping[str, Any]]:
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "") or ""
        if name.split(".")[0] == "bakery" or name.startswith("imagefile_"):
            yield vars(module)
