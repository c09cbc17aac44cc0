"""What would end this process in the middle of the user's code, with whatever exit code, and without any clean-up."""

from __future__ import annotations

import atexit
import os
import posix
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, wraps
from typing import Any, Final, NoReturn

_ENDS: Final = ("_exit", "execv", "execve")
"""Functions of `os` and `posix`; the others of `os` call one of these."""
end_at_once: Final = os._exit
"""For bakery's own use, whatever runs meanwhile."""


class ProcessEnd(BaseException):
    """The user's code asked for the end of this process.

    Args:
        call: what it called, `os._exit(0)`.
    """

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call


class _Guard:
    """The functions of `os`, replaced while any thread runs the user's code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._real: dict[str, Callable[..., Any]] = {}

    def enter(self) -> None:
        with self._lock:
            self._calls += 1
            if self._calls == 1:
                self._real = {name: getattr(os, name) for name in _ENDS}
                self._replace({name: _refusing(real, os.getpid()) for name, real in self._real.items()})

    def leave(self) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                self._replace(self._real)

    def _replace(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        for name, function in functions.items():
            setattr(os, name, function)
            setattr(posix, name, function)


def _refusing(real: Callable[..., Any], pid: int) -> Callable[..., Any]:
    """Return what a function of `os` does meanwhile: in a child that was forked it is itself, as it must be there."""

    @wraps(real)
    def refuse(*arguments: Any) -> Any:
        if os.getpid() != pid:
            return real(*arguments)
        raise ProcessEnd(f"os.{real.__name__}({', '.join(map(repr, arguments[:1]))})")

    return refuse


@cache
def _guard() -> _Guard:
    return _Guard()


@contextmanager
def refused() -> Generator[None]:
    """Raise `ProcessEnd` from whatever would end this process while the block runs."""
    _guard().enter()
    try:
        yield
    finally:
        _guard().leave()


def refuse_at_exit() -> None:
    """Let nothing that the user's code registered with `atexit` until now change how this process ends."""
    atexit.register(_guard().enter)  # those that are registered last are called first


@contextmanager
def ending_forks() -> Generator[None]:
    """End a child that the block forked where it leaves the block: all that follows is its parent's to do.

    It would clean up what the parent goes on with, and wait for threads that it does not have.
    """
    pid = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != pid:
            _end_fork(error)
        raise
    if os.getpid() != pid:
        _end_fork(None)


def _end_fork(error: BaseException | None) -> NoReturn:
    """End a forked child as Python ends a program, without what is registered for the end of this one."""
    code = 0 if error is None else 1
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or 0
    elif error is not None:
        traceback.print_exception(error)
    with suppress(Exception):  # closed, or gone
        sys.stdout.flush()
        sys.stderr.flush()
    end_at_once(code & 0xFF)
