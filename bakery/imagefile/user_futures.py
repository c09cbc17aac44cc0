"""Work that the user's code hands to an executor: its error, where nobody asks for it, is seen by nobody else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from functools import wraps
from types import FrameType
from typing import Any, Final

Made = Callable[["Future[Any]", FrameType], None]
_ASKED: Final = "_bakery_asked"
_ASKS: Final = ("result", "exception", "add_done_callback")
"""By which somebody hears how it ended; asyncio takes the last, also for what it then cancels."""
_REAL: Final[dict[str, Callable[..., Any]]] = {name: getattr(Future, name) for name in ("__init__", *_ASKS)}


def watch(made: Made) -> None:
    """Tell of each future that is made, and remember which of them somebody asks for its result or error.

    Args:
        made: is told of it, with the frame that makes it: an executor's as a rule.
    """

    @wraps(_REAL["__init__"])
    def init(self: Future[Any]) -> None:
        _REAL["__init__"](self)
        made(self, sys._getframe(1))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the only way to know who asks

    def asking(name: str) -> Callable[..., Any]:
        @wraps(_REAL[name])
        def ask(self: Future[Any], *given: Any, **named: Any) -> Any:
            vars(self)[_ASKED] = True
            return _REAL[name](self, *given, **named)

        return ask

    setattr(Future, "__init__", init)  # noqa: B010  a checker would say that it is no method
    for name in _ASKS:
        setattr(Future, name, asking(name))


def leave_alone() -> None:
    """Put back what `watch` replaced."""
    for name, function in _REAL.items():
        setattr(Future, name, function)


def error_that_nobody_asked_for(future: Future[Any]) -> BaseException | None:
    """Return what ended the work of a future, where that is over and nobody has asked."""
    if not future.done() or future.cancelled() or _ASKED in vars(future):
        return None
    error: BaseException | None = _REAL["exception"](future)
    return error
