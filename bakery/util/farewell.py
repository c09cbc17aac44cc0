"""What is said to a server when nobody holds a session with it any more; nobody waits for the answer."""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

Goodbye = Callable[[], object]


class Farewell:
    """Says goodbye once: at once, when what is held is collected, or when the process ends.

    Python collects in whichever thread happens to allocate at that moment, which may be the very one that the server's
    answer depends on: there, nothing may wait. So another thread says it. At the end of the process that is waited for.

    Args:
        held: after its end it is said; `goodbye` must not refer to it.
        goodbye: logs out; what it raises is dropped, for the session ends by itself, a little later.
    """

    def __init__(self, held: object, goodbye: Goodbye) -> None:
        self._goodbye = goodbye
        self._collected = weakref.finalize(held, _LAST_WORDS.put, goodbye)
        self._collected.atexit = False  # the thread is told to end before
        _LAST_WORDS.expect(self._collected)

    def now(self) -> None:
        """Say it, and return when it is said; safe to call twice."""
        if self._collected.detach() is not None:
            _say(self._goodbye)


class _LastWords:
    """The thread that says goodbye, and whom it is still to be said to."""

    def __init__(self) -> None:
        # Its `put` may interrupt itself in one thread, as a collection does; a lock of ours could not.
        self._queue: SimpleQueue[Goodbye | None] = SimpleQueue()
        self._expected: set[weakref.finalize[..., object]] = set()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def expect(self, collected: weakref.finalize[..., object]) -> None:
        """Take one more that is to be said in the end."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._speak, name="farewell", daemon=True)
                self._thread.start()
                atexit.register(self._finish)
            self._expected = {one for one in self._expected if one.alive} | {collected}

    def put(self, goodbye: Goodbye) -> None:
        """Say it soon."""
        self._queue.put(goodbye)

    def _speak(self) -> None:
        while (goodbye := self._queue.get()) is not None:
            _say(goodbye)

    def _finish(self) -> None:
        for collected in self._expected:
            collected()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()


def _say(goodbye: Goodbye) -> None:
    with contextlib.suppress(Exception):
        goodbye()


_LAST_WORDS = _LastWords()
