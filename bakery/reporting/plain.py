"""The plain reporter: for everything that is not a terminal. One line an event, with time and build."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import IO, Final

from bakery import events as e
from bakery.reporting.formatting import duration
from bakery.reporting.lines import SLOW, Line, Verbosity, describe_event, is_trifle, name_of_span
from bakery.reporting.run_state import BuildState, RunState
from bakery.reporting.summary import failure_text, next_steps, summary

LONG: Final = 15.0
"""Seconds after which something that still runs is mentioned; then after twice as long, and so on."""
BEAT: Final = 1.0
"""Seconds between two looks at what runs."""


class Log:
    """Writes `12:01:22 [web@laptop] task 2/5 nginx: ok (39 s)`: no colour, nothing redrawn.

    A phase that took less than a second is not told, so its begin is held back until something else is.

    Args:
        stream: where to; standard error for `bake`.
        verbosity: quiet, normal or verbose.
        live: True while the run goes on: then whatever takes long is mentioned in between.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        stream: IO[str],
        verbosity: Verbosity = "normal",
        *,
        live: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = stream
        self._verbosity: Verbosity = verbosity
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[list[Line], float]] = {}
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._live = live
        self._said: dict[tuple[str, int], float] = {}
        self._waits: dict[tuple[str, str], float] = {}
        self.board = RunState()

    def read(self, event: e.Event) -> None:
        """Write what the event is worth."""
        if self._live and isinstance(event, e.RunStarted):
            threading.Thread(target=self._beat, name="bakery-log", daemon=True).start()
        with self._lock:
            self.board.read(event)
            self._tell(event)
            self._stream.flush()

    def close(self) -> None:
        """End the thread that looks for what takes long; every line was written when it came."""
        self._over.set()

    def write(self, text: str, at: float, build: str = "") -> None:
        """Write one entry; its further lines are indented already."""
        clock = datetime.fromtimestamp(at).astimezone()
        self._stream.write(f"{clock:%H:%M:%S} {f'[{build}] ' if build else ''}{text}\n")

    def _tell(self, event: e.Event) -> None:
        lines = list(describe_event(event, self.board, self._verbosity, starts=True))
        if isinstance(event, e.PhaseStarted) and self._verbosity != "verbose":
            self._held[event.build, event.phase] = lines, event.time
            return
        if isinstance(event, e.Waiting) and self._is_told(event):
            return
        if isinstance(event, e.PhaseEnded):
            held = self._held.get((event.build, event.phase)) is not None
            if held and is_trifle(event, self._verbosity):
                del self._held[event.build, event.phase]
                return
        if lines or isinstance(event, e.Failed):
            self._tell_held(event.build)
        for line in lines:
            self.write(str(line), event.time, line.build)
        if isinstance(event, e.Failed):
            shown = self._verbosity == "verbose"  # then its output stands above already
            self.write(failure_text(event, None if shown else self.board.tracks.get(event.build)), event.time)
        if isinstance(event, e.RunEnded) and self._verbosity != "quiet" and self.board.tracks:
            rest = [f"{label}: {text}" for label, text in next_steps(self.board)]
            self._stream.write("\n" + "".join(f"{line}\n" for line in (*summary(self.board), *rest)))

    def _is_told(self, event: e.Waiting) -> bool:
        """Say whether a wait was told already and has not become twice as long since; those of no length are told."""
        if self._verbosity == "verbose" or event.seconds < SLOW:
            return False
        key = (event.build, event.what)
        if event.seconds < self._waits.get(key, 0.0) and event.seconds >= self._waits[key] / 2:
            return True
        self._waits[key] = 2 * event.seconds
        return False

    def _tell_held(self, build: str, before: float | None = None) -> None:
        """Write the begins that were held back: a build's, or all of those that are so old."""
        for key in [key for key in self._held if key[0] == build or before is not None]:
            lines, at = self._held[key]
            if before is None or at <= before:
                del self._held[key]
                for line in lines:
                    self.write(str(line), at, line.build)

    # ---- what takes long ----------------------------------------------------------------------------------------

    def _beat(self) -> None:
        with suppress(OSError, ValueError):  # a stream that is gone: whoever writes the next event says so
            while not self._over.wait(BEAT) and self.board.ended is None:
                self.mention()

    def mention(self) -> None:
        """Write what has begun more than a second ago, and what still runs after a long time."""
        now = self._clock()
        with self._lock:
            self._tell_held("", now - BEAT)
            if self._verbosity != "quiet":
                for track in self.board.tracks.values():
                    self._mention(track, now)
            self._stream.flush()

    def _mention(self, track: BuildState, now: float) -> None:
        alone = sum(span.open for span in track.bars) == 1  # else nobody knows which of them waits
        for number, span in enumerate(track.bars):
            key = (track.name, number)
            if span.open and now - span.began >= self._said.get(key, LONG):
                self._said[key] = 2 * max(LONG, now - span.began)
                what = f"{name_of_span(track, span)}: {duration(now - span.began)} so far"
                if track.waiting and alone:
                    what += f", waiting: {track.waiting.what}"
                self.write(what, now, track.name)
