"""The reporter for people: finished work scrolls by, and below it a live line for every build that runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from bakery import events as e
from bakery.reporting.formatting import amount, duration, plain
from bakery.reporting.lines import Line, Verbosity, describe_event, is_trifle
from bakery.reporting.run_state import BuildState, RunState, is_cancelled
from bakery.reporting.summary import artifact, failure, next_steps, outcome, times, took, word
from bakery.reporting.wrapping import Wrapped

COLOURS: Final = ("cyan", "magenta", "blue", "yellow", "green", "bright_cyan", "bright_magenta", "bright_blue")
MARKS: Final = {
    "ok": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "cached": ("○", "green"),
    "skipped": ("-", "dim"),
    "cancelled": ("-", "yellow"),
    "warning": ("!", "yellow"),
    "info": ("·", "dim"),
    "output": ("│", "dim"),
    "detail": ("│", "red"),
    "kept": ("★", "bold green"),
    "start": ("·", "dim"),
}
STYLES: Final = {"output": "dim", "failed": "red", "warning": "yellow", "info": "dim", "kept": "bold"}


class Terminal:
    """Draws the run on a terminal.

    Args:
        console: rich's console, on standard error for `bake`.
        verbosity: quiet, normal or verbose.
        clock: seconds since the epoch.
    """

    def __init__(
        self, console: Console, verbosity: Verbosity = "normal", clock: Callable[[], float] = time.time
    ) -> None:
        self._console = console
        self._verbosity: Verbosity = verbosity
        self._clock = clock
        self._lock = threading.Lock()
        self._colours: dict[str, str] = {}
        self._spinners: dict[str, Spinner] = {}
        self._live: Live | None = None
        self.board = RunState()
        self.board.now = clock

    def read(self, event: e.Event) -> None:
        """Draw what the event changes. Prints outside of the lock, which the live lines' thread takes as well."""
        with self._lock:
            self.board.read(event)
            lines = list(describe_event(event, self.board, self._verbosity, starts=False))
        for line in [] if is_trifle(event, self._verbosity) else lines:
            text = self._line(line)
            if line.kind in ("output", "kept"):  # unbroken, to be copied from the screen
                self._console.print(text, soft_wrap=True, highlight=False)
            else:
                self._console.print(Wrapped(text), highlight=False)
        match event:
            case e.RunStarted() if self._verbosity != "quiet":
                self._start()
            case e.Failed():
                self._console.print(self._failure(event))
            case e.RunEnded():
                self._stop()
                if self._verbosity != "quiet" and self.board.tracks:
                    self._close_with_table()
            case _:
                pass

    def close(self) -> None:
        """Take the live lines away."""
        self._stop()

    @contextmanager
    def paused(self) -> Generator[Console]:
        """Give the terminal to somebody else for a while: a question, a shell."""
        running = self._live is not None
        self._stop()
        try:
            yield self._console
        finally:
            if running:
                self._start()

    def say(self, text: str) -> None:
        """Print something above the live lines, as it is."""
        self._console.print(Text(plain(text)), soft_wrap=True, highlight=False)

    # ---- live lines ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        live = self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _render(self) -> RenderableType:
        with self._lock:
            table = Table.grid(padding=(0, 2), expand=True)
            table.add_column(no_wrap=True)
            table.add_column(no_wrap=True)
            table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
            table.add_column(no_wrap=True, justify="right")
            for track in self.board.tracks.values():
                if not track.outcome:
                    self._row(table, track)
            return table

    def _row(self, table: Table, track: BuildState) -> None:
        spinner = self._spinners.setdefault(track.name, Spinner("dots"))
        now = self._clock()
        name = Text(track.name, style=self._colour(track.name))
        elapsed = Text(duration(max(0.0, now - track.began)), style="dim")
        row = Table.grid(padding=(0, 1))
        row.add_row(spinner, name)
        table.add_row(row, Text(_doing(track)), Text(self._detail(track, now), style="dim"), elapsed)

    def _detail(self, track: BuildState, now: float) -> str:
        """Return what it waits for, how far it is, or the last line that a command wrote."""
        if track.progress and (not track.waiting or track.progress.time >= track.waiting.time):
            p = track.progress
            return plain(f"{amount(p.done, p.total, p.unit)}, {p.what}")  # what is cut off at the end is no figure
        if track.waiting:
            waited = max(0.0, now - track.waiting.time + track.waiting.seconds)
            return f"waiting {duration(waited)}: {plain(track.waiting.what)}"
        bar = track.current
        return plain(bar.lines[-1]).strip() if bar and bar.lines else ""

    # ---- printed once -------------------------------------------------------------------------------------------

    def _colour(self, build: str) -> str:
        return self._colours.setdefault(build, COLOURS[len(self._colours) % len(COLOURS)])

    def _line(self, line: Line) -> Text:
        text = Text()
        if line.build:
            text.append(f"{line.build} ", style=self._colour(line.build))
        mark, colour = MARKS[line.kind]
        text.append(f"{mark} ", style=colour)
        text.append(line.text, style=STYLES.get(line.kind, ""))
        if line.kind == "cached":
            text.append(" cached", style="dim")
        if line.seconds is not None:
            text.append(f" {duration(line.seconds)}", style="dim")
        if line.note:
            text.append(f" {line.note}", style="dim")
        return text

    def _failure(self, event: e.Failed) -> RenderableType:
        track = self.board.tracks.get(event.build) if self._verbosity != "verbose" else None
        (_, what), *rest = failure(event, track)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in rest:
            style = {"hint": "green", "output": "dim", "where": "bold"}.get(label, "")
            table.add_row(label, Wrapped(Text(text, style=style)))
        head = Wrapped(Text(what, style="bold"))
        body = Group(head, Padding(table, (1, 0, 0, 0))) if rest else head
        cancelled = is_cancelled(event)
        named = f"{event.build} {'was cancelled' if cancelled else 'failed'}"
        title = Text(named if event.build else "cancelled" if cancelled else event.error)
        return Panel(body, title=title, title_align="left", border_style="yellow" if cancelled else "red", expand=False)

    def _close_with_table(self) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(overflow="fold")
        for track in self.board.tracks.values():
            ended = outcome(track)
            mark, colour = MARKS.get(ended, MARKS["info"])
            name = Text(track.name, style=self._colour(track.name))
            spent = Text(duration(took(self.board, track)))
            phases = Wrapped(Text(times(track), style="dim"))
            table.add_row(name, Text(f"{mark} {word(track)}", style=colour), spent, phases)
        self._console.print(Padding(table, (1, 0, 0, 0)))
        for track in self.board.tracks.values():
            if track.artifact:  # outside of the table and unbroken, to be copied from the screen
                line = Text.assemble(
                    (f"{MARKS['kept'][0]} ", MARKS["kept"][1]), f"{track.name}  {artifact(track.artifact)}"
                )
                self._console.print(line, soft_wrap=True, highlight=False)
        for label, text in next_steps(self.board):
            self._console.print(Text.assemble((f"{label:<6} ", "dim"), text), soft_wrap=True, highlight=False)


def _doing(track: BuildState) -> str:
    """`task 3/5 harden`, `smoke 4/12`, `launch`."""
    bar = track.current
    if bar is None:
        return ""
    if bar.kind == "step":
        return f"{track.place(bar.name) or 'post'} {bar.name}"
    if bar.name == "smoke" and track.tests_planned:
        done = len(track.smoke_tests)
        return f"smoke {done}/{max(track.tests_planned, done)}"
    return bar.name
