"""Signals: the first cancels and unwinds, the second says what goes on, the third leaves the rest to `bake gc`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from bakery.events import Event, Notice, Waiting
from bakery.imagefile.process_end import end_at_once
from bakery.util.process_attributes import begin
from bakery.util.waiting import Cancel

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GIVE_UP = 3


class Signals:
    """While entered, SIGINT, SIGTERM and SIGHUP cancel the run. Does nothing outside the main thread.

    Args:
        cancel: the run's token.
        emit: takes events.
    """

    def __init__(self, cancel: Cancel, emit: Callable[[Event], None]) -> None:
        self._cancel = cancel
        self._emit = emit
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            begin()
            self._before = {number: signal.signal(number, self._handler(number)) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what was there; nothing after a signal, when one that comes late must not change how we end."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._count else handler)

    def _handler(self, number: signal.Signals) -> Callable[[int, FrameType | None], None]:
        """Return what a signal does. Under nohup(1) a hang-up does nothing to us; what we start can still use it."""
        ignored = number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
        return _nothing if ignored else self._caught

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        name = signal.Signals(number).name
        if self._count >= GIVE_UP:
            with suppress(OSError, AttributeError):  # nobody may be there to read it
                os.write(2, b"\nbake: stopped during the clean-up; `bake gc` destroys what is left\n")
                sys.stderr.flush()
            end_at_once(10)
        # a handler must not wait for locks that the interrupted thread may hold, so a thread tells the readers
        threading.Thread(target=self._tell, args=(name, self._count), daemon=True).start()
        self._cancel.set(f"interrupted by {name}")

    def _tell(self, name: str, count: int) -> None:
        if count == 1:
            self._emit(Notice(level="warning", message=f"{name}: stopping, and destroying what was made"))
        else:
            self._emit(
                Notice(
                    level="warning",
                    message=f"{name} again: still destroying what was made",
                    hint="a third one stops at once and leaves the rest to `bake gc`",
                )
            )
            self._emit(Waiting(what="clean-up"))


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Catch a signal that is to be ignored: a handler, unlike `SIG_IGN`, is not inherited."""
