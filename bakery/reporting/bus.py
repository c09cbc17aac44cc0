"""The gate of the event stream: stamps, redacts and hands on every event."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bakery.events import (
    BuildEnded,
    Event,
    Failed,
    Notice,
    Output,
    PhaseEnded,
    PhaseStarted,
    StepEnded,
    StepStarted,
    TestEnded,
)

if TYPE_CHECKING:
    from bakery.redaction.redactor import LineBuffer


class Reporter(Protocol):
    """A reporter: reads events, one at a time, in order."""

    def read(self, event: Event) -> None:
        """Take one event; called under the bus's lock, so be quick."""

    def close(self) -> None:
        """Write what is still to be written: the run is over."""


E_ = TypeVar("E_", bound=Event)


class Bus:
    """The gate: stamps, redacts and hands on every event.

    Args:
        run: the run's id.
        redact: takes a text and returns it without secrets.
    """

    def __init__(self, run: str = "", redact: Callable[[str], str] = str) -> None:
        self.run = run
        self._redact = redact
        self._readers: list[Reporter] = []
        self._lock = threading.RLock()
        self._buffer: Callable[[], LineBuffer] | None = getattr(
            redact, "lines", None
        )  # a redactor's; a plain function has none
        self._held: dict[tuple[str, str, str], tuple[LineBuffer, Output]] = {}

    def add(self, reader: Reporter) -> None:
        """Let a reader see all that comes from now on."""
        with self._lock:
            self._readers.append(reader)

    def emit(self, event: Event) -> None:
        """Redact and hand on. Output passes a line buffer: a secret may begin in one event and end in the next."""
        event = replace(event, run=event.run or self.run)
        with self._lock:
            if isinstance(event, Output) and self._buffer is not None:
                self._output(event, self._buffer)
                return
            if isinstance(event, PhaseStarted | PhaseEnded | StepStarted | StepEnded | TestEnded | Failed | BuildEnded):
                self._flush(event.build)
            self._hand_on(redacted(event, self._redact))

    def _hand_on(self, clean: Event) -> None:
        for reader in list(self._readers):
            try:
                reader.read(clean)
            except OSError as error:
                self._drop(reader, error)

    def _drop(self, reader: Reporter, error: OSError) -> None:
        """Go on without a reader that cannot write: a full disk, a closed terminal. No clean-up may stop for that."""
        self._readers.remove(reader)
        told = Notice(
            level="warning",
            run=self.run,
            message=f"{getattr(reader, 'label', type(reader).__name__)} is not written any more: {error}",
        )
        self._hand_on(redacted(told, self._redact))

    def _output(self, event: Output, make: Callable[[], LineBuffer]) -> None:
        key = (event.build, event.step, event.stream)
        buffer, _ = self._held.get(key) or (make(), event)
        self._held[key] = buffer, event
        if text := buffer.feed(f"{event.text}\n"):
            self._hand_on(replace(redacted(event, self._redact), text=text.removesuffix("\n")))

    def _flush(self, build: str | None = None) -> None:
        """Hand on what was held back of a build's output; of all builds' when none is named."""
        for key in [key for key in self._held if build is None or key[0] == build]:
            buffer, event = self._held.pop(key)
            if text := buffer.flush():
                self._hand_on(replace(redacted(event, self._redact), text=text.removesuffix("\n")))

    def close(self) -> None:
        """Close every reader."""
        with self._lock:
            self._flush()
            while self._readers:
                reader = self._readers[0]
                try:
                    reader.close()
                except OSError as error:
                    self._drop(reader, error)
                else:
                    self._readers.pop(0)


def redacted(event: E_, redact: Callable[[str], str]) -> E_:
    """Return the event with every text in it redacted."""
    return replace(event, **{f.name: _clean(getattr(event, f.name), redact) for f in fields(event)})


def _clean(value: Any, redact: Callable[[str], str]) -> Any:
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {_clean(key, redact): _clean(item, redact) for key, item in value.items()}
        case tuple():
            return tuple(_clean(item, redact) for item in value)
        case list():
            return [_clean(item, redact) for item in value]
        case _:
            return value
