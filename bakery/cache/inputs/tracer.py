"""Watching a step: which files, listings, environment variables and variables it reads. Users declare nothing.

Python tells an audit hook of each `open`, `listdir` and `scandir`, and of each process that is started. It tells nobody
of `os.stat` (`Path.exists`), of `os.environ` and of threads; those are watched by `bakery.cache.inputs.patches`. Only
what the user's code asks for counts, directly or through a package: what bakery itself reads, it reports with
`note_path`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextvars import Token
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar, cast

from bakery.cache.inputs import modules
from bakery.cache.inputs.code import Code
from bakery.cache.inputs.external import Kind
from bakery.cache.inputs.patches import Observer, watching
from bakery.util.observer import ACTIVE, untraced

T = TypeVar("T")
_BAKERY = str(Path(__file__).parents[2]) + os.sep
_READERS = ("linecache.py", "tokenize.py", "traceback.py", "inspect.py")
_PROCESSES = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
    "os.fork",
}
_MEMORY = "/dev/shm/"  # noqa: S108  no device, but a file system for everybody
_WRITES = os.O_WRONLY | os.O_TRUNC | os.O_EXCL


class Tracer(Observer):
    """Collects what one step reads while `with` holds it, in this thread.

    Args:
        root: the imagefile's folder.
        ignore: folders that are ours: the cache, `.bakery`.
        before: the step's code as it is before the step runs.
    """

    def __init__(self, root: Path, *, ignore: tuple[Path, ...] = (), before: Code | None = None) -> None:
        self.root = root
        self.before = before
        self.read: dict[tuple[Kind, str], tuple[int, ...] | None] = {}
        self.problems: list[str] = []
        self._written: set[Path] = set()
        self._ignored = tuple(str(path) + os.sep for path in (*ignore, root / ".bakery"))
        self._token: Token[Tracer | None] | None = None
        self._watching = watching(ACTIVE.get)

    def __enter__(self) -> Self:
        """Begin."""
        _install()
        self._watching.__enter__()
        self._token = ACTIVE.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End."""
        if self._token is not None:
            ACTIVE.reset(self._token)
        self._watching.__exit__(kind, error, at)

    # ---- what is told ---------------------------------------------------------------------------------------

    def file(self, path: str | Path) -> None:
        """Note that a file was read, or a folder with all that is in it."""
        path = Path(os.path.abspath(self.root / path))  # noqa: PTH100  Path.resolve would follow links
        self._note("tree" if path.is_dir() else "file", path)

    def took(self, kind: Kind, name: str) -> None:
        """Something was looked at; a file or folder may be missing."""
        if kind == "env":
            self.read.setdefault((kind, name), None)
        elif not name.startswith(self._ignored):
            self._note(kind, Path(name))

    def output(self, path: str | Path) -> None:
        """Note that a file was written."""
        self._wrote(self.root / path)

    def left_behind(self) -> list[Path]:
        """Return what it wrote on this host that is still there; a temporary file that stays harms nobody."""
        temporary = Path(tempfile.gettempdir()).resolve()
        return sorted(
            path
            for path in self._written
            if path.exists() and (path.is_relative_to(self.root) or not path.resolve().is_relative_to(temporary))
        )

    def blame(self, reason: str) -> None:
        """Something cannot be followed."""
        if reason not in self.problems:
            self.problems.append(reason)

    def variables(self, v: T) -> T:
        """Return an object that is `v` in all respects, but remembers which variables are asked for."""
        return _proxy(v, self) if is_dataclass(v) and not isinstance(v, type) else v

    def variable(self, name: str) -> None:
        """Note that a variable was asked for."""
        self.read.setdefault(("variable", name), None)

    def environment(self, name: str | None) -> None:
        """Note that an environment variable was asked for, or all of them."""
        with untraced():
            if _user_asks():
                self.read.setdefault(("environ", "") if name is None else ("env", name), None)

    def stat(self, path: Any) -> None:
        """Somebody asked whether a file is there."""
        with untraced():
            if isinstance(path, (str, os.PathLike)) and _user_asks():
                self._seen("file", path)

    def follow(self, run: Callable[[], None]) -> Callable[[], None]:
        """Follow a thread that the step starts, which is a part of it; one that bakery starts for it is not."""
        with untraced():
            if not _user_asks():
                return run

        def followed() -> None:
            token = ACTIVE.set(self)
            try:
                run()
            finally:
                ACTIVE.reset(token)  # in whichever thread it is called, nothing after it is the step's

        return followed

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Python did something."""
        with untraced():
            if not _user_asks():
                return
            if event in _PROCESSES:
                self.blame("it runs a program on this host")
            elif not isinstance(args[0], int):  # an open file, told already
                self._touched(event, *args)

    def _touched(self, event: str, path: Any, mode: object = None, flags: object = 0) -> None:
        if event == "open":
            flagged = mode is None and isinstance(flags, int) and flags & _WRITES
            if flagged or str(mode).startswith(("w", "x")):
                self._wrote(path)
            else:
                self._seen("file", path)
        elif event == "os.mkdir":
            self._wrote(path)
        else:
            self._seen("listing", "." if path is None else path)

    def _wrote(self, path: Any) -> None:
        """Note what the step writes: if it reads it only later, it is its own product, not an input."""
        full = self._absolute(path)
        if full is None or os.path.isdir(full):  # noqa: PTH112  tempfile.TemporaryFile is opened by its folder's name
            return
        if ("file", str(full)) not in self.read and not str(full).startswith(self._ignored):
            self._written.add(full)

    def _seen(self, kind: Kind, path: Any) -> None:
        full = self._absolute(path)
        if full and not _system(str(full)) and not str(full).startswith(self._ignored):
            self._note(kind, full)

    def _absolute(self, path: Any) -> Path | None:
        """Say which file is meant; None where the working folder is gone, which must not fail the user's own call."""
        try:
            return Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  Path.resolve would follow links
        except FileNotFoundError:
            self.blame("it works in a folder that is gone")
            return None

    def _note(self, kind: Kind, path: Path) -> None:
        if path in self._written or not self._written.isdisjoint(path.parents):
            return
        if (kind, str(path)) not in self.read:
            self.read[kind, str(path)] = _look(path)


def _look(path: Path) -> tuple[int, ...] | None:
    """How the file looked when it was first read, to see that it stayed so; None for folders."""
    try:
        info = path.stat()
        return None if path.is_dir() else (info.st_size, info.st_mtime_ns, info.st_ino)
    except OSError:
        return (-1,)


def changed(path: str, seen: tuple[int, ...] | None) -> bool:
    """Say whether a file has changed since `_look`."""
    return seen is not None and _look(Path(path)) != seen


@cache
def _install() -> None:
    """Add the hook, once: Python has no way to remove one. Idle, it costs a look-up."""
    watched = {"open", "os.mkdir", "os.listdir", "os.scandir", *_PROCESSES}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in watched and (tracer := ACTIVE.get()) is not None:
            tracer.audit(event, args)

    sys.addaudithook(hook)


def _user_asks() -> bool:
    """Say whether the user's code is behind the call: before bakery's, and not Python's import or traceback."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the only way
    while frame is not None:
        if (asks := _decides(frame.f_code.co_filename)) is not None:
            return asks
        frame = frame.f_back
    return False


@cache
def _decides(file: str) -> bool | None:
    """Say whether code of this file makes a call the user's, or not the user's; None where its own caller decides."""
    if file.startswith("<frozen importlib") or file.endswith(_READERS):
        return False
    if file.startswith(_BAKERY) and not file.startswith(_BAKERY + "cache" + os.sep):
        return False
    return True if modules.is_users(file) else None


def _system(path: str) -> bool:
    """Python's own files, packages, devices: not inputs of a step."""
    if path.startswith(("/proc/", "/sys/", "/dev/")) and not path.startswith(_MEMORY):
        return True
    return path.endswith((".pyc", os.sep + "__pycache__")) or (path.endswith(".py") and not modules.is_users(path))


def _proxy(v: T, tracer: Tracer) -> T:
    cls: type = type(v)
    names = frozenset(item.name for item in fields(v))  # type: ignore[arg-type]  # the caller has checked

    def read(me: object, name: str) -> Any:
        if name in names:
            tracer.variable(name)
        elif name == "__dict__":
            for each in names:
                tracer.variable(each)
        elif name == "__class__":
            return cls  # so that it equals, and shows as, what it stands for
        return object.__getattribute__(me, name)

    watched = type(cls.__name__, (cls,), {"__getattribute__": read, "__module__": cls.__module__, "__slots__": ()})
    proxy: Any = object.__new__(watched)
    for name in names:
        object.__setattr__(proxy, name, getattr(v, name))
    return cast("T", proxy)
