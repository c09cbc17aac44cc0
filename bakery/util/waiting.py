"""Waiting: the only place in the package that sleeps.

Every wait has a deadline, can be cancelled at once, and tells its user what it waits for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Final, NoReturn, Self, TypeVar

from bakery.errors import BakeryError, DriverError, Interrupted, NotYet

T = TypeVar("T")
_LOOK: Final = 0.05
"""Seconds between two looks at the cancel token during a call that cannot be interrupted."""


class Cancel:
    """A token that ends every wait of a run at once: set by signals and by deadlines.

    Args:
        deadline: `time.monotonic()` value after which it counts as set.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self._event = threading.Event()
        self._reason = ""
        self._deadline = deadline
        self._shield = threading.local()

    def set(self, reason: str) -> None:
        """Cancel, and say why; the first reason stays."""
        if not self._event.is_set():
            self._reason = reason
            self._event.set()

    @property
    def reason(self) -> str:
        """Why it was cancelled; empty while it is not, and inside `shielded` code."""
        if self.shielded:
            return ""
        if not self._event.is_set() and self._deadline is not None and time.monotonic() > self._deadline:
            self.set("the build's deadline has passed")
        if self._event.is_set():
            return self._reason
        over = (what for until, what in self._limits if time.monotonic() > until)
        watches: tuple[Callable[[], str], ...] = getattr(self._shield, "watches", ())
        return next(over, "") or next(filter(None, (look() for look in watches)), "")

    @property
    def shielded(self) -> bool:
        """True inside `with cancel:` of this thread."""
        return getattr(self._shield, "depth", 0) > 0

    @property
    def _limits(self) -> tuple[tuple[float, str], ...]:
        """When this thread's own time is over, and what to say then."""
        limits: tuple[tuple[float, str], ...] = getattr(self._shield, "limits", ())
        return limits

    @contextmanager
    def limited(self, seconds: float, reason: str) -> Generator[None]:
        """Count as cancelled in this thread, and only inside the block, once it has taken so long."""
        before = self._limits
        self._shield.limits = (*before, (time.monotonic() + seconds, reason))
        try:
            yield
        finally:
            self._shield.limits = before

    @contextmanager
    def watching(self, look: Callable[[], str]) -> Generator[None]:
        """Count as cancelled in this thread, and only inside the block, once `look` gives a reason."""
        before: tuple[Callable[[], str], ...] = getattr(self._shield, "watches", ())
        self._shield.watches = (*before, look)
        try:
            yield
        finally:
            self._shield.watches = before

    def check(self) -> None:
        """Raise when cancelled.

        Raises:
            Interrupted: with the reason.
        """
        if reason := self.reason:
            raise Interrupted(reason)

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until cancelled.

        Raises:
            Interrupted: with the reason.
        """
        self.check()
        if self.shielded:
            time.sleep(seconds)
            return
        ends = [until for until, _ in self._limits]
        ends += [] if self._deadline is None else [self._deadline]
        self._event.wait(min([seconds, *(max(0.0, end - time.monotonic()) for end in ends)]))
        self.check()

    def __enter__(self) -> Self:
        """`with cancel:` shields clean-up code in this thread from the cancellation that caused it."""
        self._shield.depth = getattr(self._shield, "depth", 0) + 1
        return self

    def __exit__(self, *_: object) -> None:
        """End of the shielded part."""
        self._shield.depth -= 1


def until(
    probe: Callable[[], T],
    *,
    what: str,
    timeout: float,
    cancel: Cancel,
    notify: Callable[[str, float], None] | None = None,
    every: tuple[float, float] = (0.05, 1.0),
    late: float = 1.0,
    error: type[BakeryError] = DriverError,
    hint: str = "",
) -> T:
    """Ask `probe` until it returns, and return what it did.

    Args:
        probe: returns the answer, raises `NotYet(reason)` to be asked again, anything else to end the wait.
        what: what is being waited for, as in "the machine has an address".
        timeout: seconds until the wait fails.
        cancel: ends the wait at once.
        notify: called with the reason and the seconds waited whenever the reason changes.
        every: first and longest pause between two questions, in seconds; doubling in between.
        late: most that a pause may be, as a part of the time waited already: with 0.2, what happens after 3 s is seen
            at most 0.6 s later, however long the longest pause.
        error: what to raise at the deadline: a `BakeryError` class.
        hint: what the user can do about a wait that ran out.

    Raises:
        Interrupted: when cancelled.
        error: at the deadline, with the last reason.
    """
    started = time.monotonic()
    pause, longest = every
    shown = ""
    while True:
        cancel.check()
        try:
            return probe()
        except NotYet as not_yet:
            reason = not_yet.reason
        waited = time.monotonic() - started
        if reason != shown and notify is not None:
            notify(reason, waited)
            shown = reason
        if waited >= timeout:
            message = f"waited {timeout:g} s and still: {reason}"
            raise error(f"{what}: timed out", why=message, hint=hint)
        cancel.sleep(min(pause, max(0.0, timeout - waited)))
        pause = min(pause * 2, longest, max(every[0], waited * late))


def interruptible(call: Callable[[], T], cancel: Cancel, *, discard: Callable[[T], object]) -> T:
    """Make a blocking call in a thread of its own, so that a cancellation need not wait for its end.

    Args:
        call: blocks, but not for ever.
        cancel: ends the wait at once.
        discard: gets the result that comes after that.

    Raises:
        Interrupted: when cancelled; and whatever the call raises.
    """
    if cancel.shielded:  # the shield is this thread's; another one would be cancelled
        return call()
    done: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
    lock = threading.Lock()
    abandoned = False

    def work() -> None:
        try:
            value = call()
        except BaseException as error:  # raised where the result is waited for
            done.put(partial(_raise, error))
            return
        with lock:
            if not abandoned:
                done.put(lambda: value)
                return
        discard(value)

    threading.Thread(target=work, name="bakery-call", daemon=True).start()
    while True:
        try:
            result = done.get(timeout=_LOOK)
        except queue.Empty:
            try:
                cancel.check()
            except Interrupted:
                with lock:
                    abandoned = True
                raise
        else:
            return result()


def _raise(error: BaseException) -> NoReturn:
    raise error
