"""What would end this process in the middle of the user's code, with whatever exit code, and without any clean-up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, Final

_ENDS: Final = ("_exit", "execv", "execve")
"""Functions of `os`; the others of its family call one of these."""
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
                for name, real in self._real.items():
                    setattr(os, name, _refusing(real, os.getpid()))

    def leave(self) -> None:
        with self._lock:
            self._calls -= 1
            for name, real in self._real.items() if not self._calls else ():
                setattr(os, name, real)


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
