"""What Python goes on after: errors of a user's thread, future, finalizer or asyncio callback; dropped coroutines."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from traceback import walk_tb
from types import CoroutineType, FrameType, TracebackType
from typing import Any, Final

from bakery.imagefile import user_futures

IsUsers = Callable[[FrameType], bool]
_POLL: Final = 0.1
_WARNS: Final = "_warn_unawaited_coroutine"
"""What Python calls for a coroutine that is dropped before it ran; since 3.7."""
_ASYNCIO: Final = logging.getLogger("asyncio")


class NeverAwaited(Exception):  # noqa: N818  it says what was forgotten
    """An async function was called, and nothing of it has run.

    Args:
        name: the function's.
        frame: where its coroutine was dropped.
    """

    def __init__(self, name: str, frame: FrameType) -> None:
        super().__init__(f"coroutine {name} was never awaited")
        self.name = name
        self.__traceback__ = TracebackType(None, frame, frame.f_lasti, frame.f_lineno)


class StartedThreads:
    """The threads that one call of the user's code started, and what ended them.

    Args:
        is_users: says whether a frame runs the user's code.
    """

    def __init__(self, is_users: IsUsers) -> None:
        self.failures: list[BaseException] = []
        self.is_over = False
        self._is_users = is_users
        self._to_join: list[threading.Thread] = []
        self._futures: list[Future[Any]] = []

    def join(self, check: Callable[[], None]) -> None:
        """Wait for what the user's code started by its own hand, unless it is a daemon, and for what it submitted.

        Args:
            check: called again and again; raises to end the waiting.
        """
        for thread in self._to_join:  # grows while those in it start others
            while thread.is_alive() and not thread.daemon and not isinstance(thread, threading.Timer):
                thread.join(_POLL)
                check()
        for future in self._futures:  # the same
            while not future.done():
                wait([future], _POLL)
                check()
        self.failures += filter(None, map(user_futures.error_that_nobody_asked_for, self._futures))

    def submitted(self, future: Future[Any], maker: FrameType) -> None:
        """Remember a future if an executor makes it for the user's code; one that this makes itself is its own matter.

        Args:
            future: just made.
            maker: the frame that makes it.
        """
        if not self._is_users(maker) and _through_python(maker, self._is_users):
            self._futures.append(future)

    def forgotten(self, coroutine: CoroutineType[Any, Any, Any], frame: FrameType | None) -> bool:
        """Note a coroutine that is dropped before it ran, if that is in the user's code.

        Args:
            coroutine: not awaited.
            frame: where it is dropped.
        """
        while frame is not None and not self._is_users(frame):
            frame = frame.f_back
        if frame is not None:
            self.failures.append(NeverAwaited(coroutine.__name__, frame))
        return frame is not None

    def lost(self, error: BaseException) -> bool:
        """Note an error that Python only complains of, if it came through the user's code.

        Args:
            error: what ended an asyncio task that is dropped, a callback of its loop, or a finalizer (`__del__`).
        """
        is_theirs = any(self._is_users(frame) for frame, _ in walk_tb(error.__traceback__))
        if is_theirs:
            self.failures.append(error)
        return is_theirs

    def note(self, thread: threading.Thread, starter: FrameType | None) -> None:
        """Remember a thread if the user's code is what starts it, directly or through Python's own modules.

        Args:
            thread: about to start.
            starter: the frame that calls `Thread.start`.
        """
        if starter is None:
            return
        if self._is_users(starter):
            self._to_join.append(thread)
        elif not _through_python(starter, self._is_users):
            return
        _registry().threads[thread] = self


def _through_python(frame: FrameType | None, is_users: IsUsers) -> bool:
    """Say whether only frames of Python's own library lie between the user's code and here (an executor's, say)."""
    while frame is not None:
        if is_users(frame):
            return True
        if frame.f_globals.get("__name__", "").partition(".")[0] not in sys.stdlib_module_names:
            return False
        frame = frame.f_back
    return False


class _Registry:
    """Which thread belongs to which call; while there are calls, sees threads start, and what ends them.

    Python has no hook for a thread that starts (an audit event only since 3.12), so that `Thread.start` is replaced. It
    is put back when nobody else has replaced it meanwhile; if somebody has, what stays does nothing but to pass on.
    """

    def __init__(self) -> None:
        self.threads: weakref.WeakKeyDictionary[threading.Thread, StartedThreads] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._calls = 0
        self._start: Callable[[threading.Thread], None] | None = None
        self._first: Callable[[Any], Any] | None = None
        self._theirs: Callable[[Any], Any] | None = None
        self._excepthook: Callable[[Any], Any] | None = None
        self._unraisable: Callable[[sys.UnraisableHookArgs], Any] | None = None
        self._telling = threading.local()
        self._warn: Callable[[Any], None] | None = None

    def enter(self) -> None:
        with self._lock:
            self._calls += 1
            vars(_ASYNCIO)["error"] = _complain
            user_futures.watch(_submitted)
            if self._start is None:
                self._start, threading.Thread.start = threading.Thread.start, _start  # type: ignore[method-assign]  # put back below
            if threading.excepthook is not _ended:  # at first, or the user's code has put its own there
                self._excepthook, threading.excepthook = threading.excepthook, _ended
                if self._excepthook is not self._theirs:
                    self._first = self._excepthook
            if sys.unraisablehook is not _unraisable:
                self._unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable
            if self._warn is None and hasattr(warnings, _WARNS):
                self._warn = getattr(warnings, _WARNS)
                setattr(warnings, _WARNS, _forgotten)

    def leave(self) -> None:
        with self._lock:
            self._calls -= 1
            if self._calls:
                return
            vars(_ASYNCIO).pop("error", None)
            user_futures.leave_alone()
            if self._start is not None and threading.Thread.start is _start:
                threading.Thread.start, self._start = self._start, None  # type: ignore[assignment,method-assign]  # the same
            if self._excepthook is not None and threading.excepthook is _ended:
                threading.excepthook = self._excepthook
            else:
                self._theirs = threading.excepthook
            if self._unraisable is not None and sys.unraisablehook is _unraisable:
                sys.unraisablehook = self._unraisable
            if self._warn is not None and getattr(warnings, _WARNS) is _forgotten:
                setattr(warnings, _WARNS, self._warn)
                self._warn = None

    def starts(self, thread: threading.Thread, starter: FrameType | None) -> None:
        """See a thread start, and start it."""
        current = self._current()
        while starter is not None and starter.f_locals.get("self") is thread:
            starter = starter.f_back  # another replacement of `Thread.start`, or an override that calls it
        if current is not None:
            current.note(thread, starter)
        (self._start or threading.Thread.start)(thread)

    def _current(self) -> StartedThreads | None:
        return _CURRENT.get() or (self.threads.get(threading.current_thread()) if self._calls else None)

    def submitted(self, future: Future[Any], maker: FrameType) -> None:
        """See that a future is made."""
        current = self._current()
        if current is not None:
            current.submitted(future, maker)

    def forgotten(self, coroutine: CoroutineType[Any, Any, Any], frame: FrameType | None) -> None:
        """See that a coroutine is dropped which never ran."""
        current = self._current()
        if (current is None or not current.forgotten(coroutine, frame)) and self._warn is not None:
            self._warn(coroutine)

    def lost(self, error: BaseException) -> bool:
        """See an error that Python only complains of; True where that is noted."""
        current = self._current()
        return current is not None and not current.is_over and current.lost(error)

    def unraisable(self, args: sys.UnraisableHookArgs) -> None:
        """See an error that Python cannot raise anywhere, a finalizer's."""
        if args.exc_value is None or not self.lost(args.exc_value):
            (self._unraisable or sys.__unraisablehook__)(args)

    def ended(self, args: threading.ExceptHookArgs) -> None:
        """See what ended a thread."""
        started = None if args.thread is None else self.threads.get(args.thread)
        if started is None or started.is_over or args.exc_value is None:
            self._tell(args)
        else:
            started.failures.append(args.exc_value)

    def _tell(self, args: threading.ExceptHookArgs) -> None:
        """Pass on what is nobody's; a hook of the user's that passes it on to ours gets it to the one before both."""
        if getattr(self._telling, "now", False):
            (self._first or threading.__excepthook__)(args)
            return
        self._telling.now = True
        try:
            (self._excepthook or threading.__excepthook__)(args)
        finally:
            self._telling.now = False


_CURRENT: ContextVar[StartedThreads | None] = ContextVar("bakery_started_threads", default=None)


@cache
def _registry() -> _Registry:
    return _Registry()


@wraps(threading.Thread.start)
def _start(self: threading.Thread) -> None:
    starter = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the only way to know who asks
    _registry().starts(self, starter)


def _submitted(future: Future[Any], maker: FrameType) -> None:
    _registry().submitted(future, maker)


def _forgotten(coro: CoroutineType[Any, Any, Any]) -> None:
    _registry().forgotten(coro, sys._getframe(1))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  no other way


def _ended(args: threading.ExceptHookArgs) -> None:
    _registry().ended(args)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    _registry().unraisable(args)


def _complain(message: str, *args: Any, **options: Any) -> None:
    """Take the place of asyncio's `logger.error`: a record loses its error on the way to a handler.

    A loop complains of tasks and futures that are dropped, and of what its callbacks, protocols and clean-up raise.
    Source: `default_exception_handler`, asyncio/base_events.py.
    """
    error = options.get("exc_info")
    if isinstance(error, tuple) and error[1] is not None and _registry().lost(error[1]):  # pyright: ignore[reportUnknownArgumentType]  as logging takes it
        return
    logging.Logger.error(_ASYNCIO, message, *args, **options)


@contextmanager
def watching(is_users: IsUsers) -> Generator[StartedThreads]:
    """Remember the threads that this thread starts in the block, and those that they start.

    Args:
        is_users: says whether a frame runs the user's code.
    """
    registry, started = _registry(), StartedThreads(is_users)
    registry.enter()
    token = _CURRENT.set(started)
    try:
        yield started
    finally:
        started.is_over = True
        _CURRENT.reset(token)
        registry.leave()
