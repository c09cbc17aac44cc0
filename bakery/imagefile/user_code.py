"""The border to the user's code: whatever leaves it is an ordinary exception, with the line that it came from.

Python lets some ways out pass by `except Exception`: `sys.exit()`, a click or argparse program that ends, pytest's
outcomes, a cancelled coroutine, a `KeyboardInterrupt` that nobody typed. Out of a task they would end bakery itself,
with whatever exit code they carry. Here each becomes a `UserCodeExit`, which the caller reports as any other failure.
"""

from __future__ import annotations

import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

from bakery.errors import BakeryError, ImagefileError, Location
from bakery.imagefile import process_end, user_threads

T = TypeVar("T")
_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"]


class UserCodeExit(Exception):  # noqa: N818  it says what the code did, which may have been no error
    """The user's code was left by something that is no `Exception`.

    Args:
        error: what it was.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {text_of(error)}".rstrip(": "))
        self.error = error


def call_user_code(call: Callable[[], T], *, check: Callable[[], None] | None = None) -> T:
    """Call a function of the user's.

    A thread that it started with `threading.Thread` is a part of it: what ends such a thread ends the function.

    Args:
        call: the call, without arguments.
        check: raises when the run is cancelled. Where it is passed, threads that the function did not join are waited
            for, as Python itself does at its end.

    Raises:
        UserCodeExit: it was left by something that is no `Exception`.
        KeyboardInterrupt: somebody pressed Ctrl-C.
        Exception: whatever it raised.
    """
    deepest = sys.getrecursionlimit()
    with _ctrl_c() as typed:
        try:
            with user_threads.watching(is_users_frame) as threads, process_end.refused():
                with process_end.ending_forks():
                    result = call()
                if check is not None:
                    threads.join(check)
        except BaseException as error:
            if typed.interrupt:
                raise KeyboardInterrupt from error
            sound = as_exception(error)
            raise sound from sound.__cause__
        finally:
            if sys.getrecursionlimit() < deepest:  # what follows is ours, and needs it
                sys.setrecursionlimit(deepest)
    if threads.failures:
        raise as_exception(threads.failures[0])
    return result


def as_exception(error: BaseException) -> Exception:
    """Return an error itself; a `UserCodeExit` that has its traceback for what nobody who catches errors can handle."""
    if not _is_sound(error):
        kind, at = type(error), _TRACEBACK.__get__(error)
        return UserCodeExit(Unreadable(type.__dict__["__name__"].__get__(kind))).with_traceback(at)
    return error if isinstance(error, Exception) else UserCodeExit(error).with_traceback(error.__traceback__)


class Unreadable(BaseException):
    """Stands for an error of a class of the user's that raises when it is looked at."""


def _is_sound(error: BaseException) -> bool:
    """Say whether an error can be looked at, and has what its class promises where that is ours."""
    try:
        if isinstance(error, BakeryError):
            texts = (error.what, error.why, error.hint)
            return all(type(text) is str for text in texts) and isinstance(error.where, Location | None)
        return all(isinstance(other, BaseException | None) for other in (error.__cause__, error.__context__))
    except BaseException:  # it is the user's class
        return False


@dataclass
class _Typed:
    interrupt: bool = False


@contextmanager
def _ctrl_c() -> Generator[_Typed]:
    """Tell a Ctrl-C from a `KeyboardInterrupt` that the user's code raised, and from what it made of a Ctrl-C.

    During a run bakery's own handler is in place, which raises nothing.
    """
    typed = _Typed()

    def note(number: int, frame: FrameType | None) -> None:
        typed.interrupt = True
        signal.default_int_handler(number, frame)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield typed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield typed
    finally:
        if signal.getsignal(signal.SIGINT) is note:  # the user's code may have put its own there
            signal.signal(signal.SIGINT, signal.default_int_handler)


def describe(error: BaseException) -> tuple[str, str, str]:
    """Return what the user's code did, as the verb of a sentence; the error's own words; and what to write instead."""
    if isinstance(error, user_threads.NeverAwaited):
        why = f"{error.name} is an async function: a call makes a coroutine, and nobody awaited it"
        return f"calls {error.name}() and runs nothing of it", why, f"asyncio.run({error.name}(...))"
    if not isinstance(error, UserCodeExit):
        return f"raises {type(error).__name__}", text_of(error), ""
    inner = error.error
    if isinstance(inner, process_end.ProcessEnd):
        return f"calls {inner.call}", "that would end bake itself, with nothing cleaned up", "`return` ends a function"
    if isinstance(inner, Unreadable):
        return f"raises {inner}", "an error that cannot be looked at", ""
    if isinstance(inner, SystemExit):
        code = "" if inner.code is None else repr_of(inner.code)
        return (
            f"calls sys.exit({code})",
            "a program that is run by a function (click, argparse) may call it as well",
            "`return` ends a function early, and any error that it raises makes it fail",
        )
    hint = "pytest's outcomes belong into tests" if type(inner).__module__.startswith("_pytest") else ""
    return f"raises {type(inner).__name__}", text_of(inner), hint


def text_of(value: object) -> str:
    """Return `str(value)`, also of an object of the user's whose class cannot."""
    try:
        return str(value)
    except BaseException as error:  # it is the user's class
        return f"<{type(value).__name__} without text: {type(error).__name__}>"


def repr_of(value: object) -> str:
    """Return `repr(value)`, also of an object of the user's whose class cannot."""
    try:
        return repr(value)
    except BaseException:  # it is the user's class
        return f"<{type(value).__name__}>"


def user_line(error: BaseException) -> Location | None:
    """Return the last line of the user's own files that an error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users_file(frame.filename)]
    return Location(Path(frames[-1].filename), frames[-1].lineno or 1) if frames else None


def out_of_imagefile(error: BaseException, folder: Path) -> ImagefileError | None:
    """Explain what came out of an imagefile's code that others call while bakery works: a handler of signals, of logs.

    Args:
        error: what it is.
        folder: the imagefile's.

    Returns:
        None where bakery's own code was left last.
    """
    sound = as_exception(error)
    files = [frame.filename for frame in traceback.extract_tb(sound.__traceback__)]
    mine = (file for file in set(files) if is_users_file(file) and Path(file).is_relative_to(folder))
    theirs = max((at for file in mine for at, other in enumerate(files) if file == other), default=-1)
    ours = max((at for at, file in enumerate(files) if Path(file).is_relative_to(_not_users()[0])), default=-1)
    if theirs <= ours:
        return None
    verb, why, _ = describe(sound)
    return ImagefileError(
        f"code of the imagefile {verb} while bakery works",
        why=why,
        where=user_line(sound),
        hint="bakery has not called it: what does? A handler of signals or logs, a hook, a method of a variable?",
    )


def is_users_frame(frame: FrameType) -> bool:
    """Say whether a frame runs the user's code."""
    return is_users_file(frame.f_code.co_filename)


@cache
def is_users_file(file: str) -> bool:
    """Say whether a source file is the user's: not bakery's, not an installed package's, not Python's."""
    if file.startswith("<") or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in _not_users())


@cache
def _not_users() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return (Path(__file__).resolve().parents[1], *(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")))


def called_from() -> Location | None:
    """Return the line of the user's code that called bakery."""
    return next(lines_up_to_import(), None)


def lines_up_to_import() -> Iterator[Location]:
    """Yield the lines of the user's code that are being run, the innermost first, up to an import."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the only way
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if is_users_frame(frame):
            yield Location(Path(frame.f_code.co_filename), frame.f_lineno)
        frame = frame.f_back
