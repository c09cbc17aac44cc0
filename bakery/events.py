"""What happens during a run, as frozen data. Reporters read nothing else.

Every event is redacted once, by the bus, before any reader sees it. As JSON an event is
`{"v": 1, "type": "step-ended", "time": 1700000000.0, "run": "...", "build": "...", ...its own fields}`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from bakery.model import Json, to_json

if TYPE_CHECKING:
    from bakery.redaction.redactor import LineBuffer

VERSION = 1
Outcome = Literal["ok", "failed", "cancelled", "skipped", "cached"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened.

    Args:
        time: seconds since the epoch.
        run: the run's id.
        build: the build's name; empty for what concerns the whole run.
    """

    time: float = field(default_factory=time.time)
    run: str = ""
    build: str = ""

    @property
    def type(self) -> str:
        """`StepEnded` is `step-ended`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()

    def to_json(self) -> dict[str, Json]:
        """One JSON object, flat."""
        shown = {f.name: to_json(getattr(self, f.name)) for f in fields(self)}
        return {"v": VERSION, "type": self.type, **shown}


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run begins: the builds in it, and the folder that holds its logs."""

    builds: tuple[str, ...] = ()
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildStarted(Event):
    """A build begins: its image's name, its driver, and how many steps and tests are ahead."""

    image: str = ""
    driver: str = ""
    steps: tuple[str, ...] = ()
    tests: int = 0


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """A phase begins: base, launch, connect, provision, seal, capture or publish, relaunch, smoke, keep, ..."""

    phase: str


@dataclass(frozen=True, kw_only=True)
class PhaseEnded(Event):
    """A phase ends."""

    phase: str
    seconds: float
    outcome: Outcome = "ok"


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A task or post step begins."""

    step: str
    index: int
    location: str = ""
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class StepEnded(Event):
    """A task or post step ends; `reason` says why it ran, was cached or failed."""

    step: str
    index: int
    seconds: float
    outcome: Outcome = "ok"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Output(Event):
    """Whole lines that a command or a tool wrote. `stream` is stdout, stderr or console."""

    text: str
    stream: str = "stdout"
    step: str = ""


@dataclass(frozen=True, kw_only=True)
class Waiting(Event):
    """What the build is waiting for, and for how long already."""

    what: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far a long transfer or conversion is; `total` is 0 when not known."""

    what: str
    done: float
    total: float = 0.0
    unit: str = "B"


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something that the user should know and that stops nothing."""

    level: Literal["info", "warning"] = "info"
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class TestEnded(Event):
    """One smoke test's result; `text` is pytest's explanation of a failure."""

    __test__: ClassVar[bool] = False
    test: str
    outcome: Literal["passed", "failed", "error", "skipped"]
    seconds: float
    location: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class ResourceChanged(Event):
    """The journal wrote a line: `op` is intend, made, gone, kept or failed."""

    op: str
    resource: str


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """An error, as the user should read it."""

    error: str
    what: str
    why: str = ""
    hint: str = ""
    location: str = ""
    exit_code: int = 1
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class ArtifactKept(Event):
    """A tested image is now the user's."""

    name: str
    id: str
    format: str = ""
    size: int | None = None
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildEnded(Event):
    """A build ends."""

    outcome: Outcome
    seconds: float
    artifact: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The run ends."""

    seconds: float
    exit_code: int


class Reporter(Protocol):
    """A reporter: reads events, one at a time, in order."""

    def read(self, event: Event) -> None:
        """Take one event; called under the bus's lock, so be quick."""

    def close(self) -> None:
        """The run is over: write what is still to be written."""


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
            level="warning", run=self.run, message=f"{type(reader).__name__} is not written any more: {error}"
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
