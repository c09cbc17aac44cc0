"""What happens during a run, as frozen data. Reporters read nothing else.

Every event is redacted once, by the bus, before any reader sees it. As JSON an event is
`{"v": 1, "type": "step-ended", "time": 1700000000.0, "run": "...", "build": "...", ...its own fields}`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from bakery.model import Json, to_json

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
    """A run begins: the builds in it, the folder that holds its logs, and where and how it was started.

    `command` is the command line without the values of variables, `version` is bakery's, `host` says what runs it.
    """

    builds: tuple[str, ...] = ()
    folder: str = ""
    command: str = ""
    version: str = ""
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildStarted(Event):
    """A build begins: its image's name, its driver, and how many steps and tests are ahead.

    `base` says what it starts from, `values` has a line for each variable, with its origin, `commit` is the imagefile's
    in git, with `+` where files differ from it.
    """

    image: str = ""
    driver: str = ""
    steps: tuple[str, ...] = ()
    tests: int = 0
    base: str = ""
    values: tuple[str, ...] = ()
    commit: str = ""


@dataclass(frozen=True, kw_only=True)
class MachineStarted(Event):
    """A machine runs: what for (`build`, `smoke`, `clone`), and what its driver says of it (`accelerator: tcg`)."""

    role: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PackagesListed(Event):
    """What is installed on the sealed machine, and what differs from the image `before`, the last of this build."""

    count: int
    before: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BootTimed(Event):
    """How the tested machine booted: `stages` of name and seconds, `units` of name, begin and seconds."""

    stages: tuple[tuple[str, float], ...] = ()
    units: tuple[tuple[str, float, float], ...] = ()


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
    """Whole lines that a command or a tool wrote.

    `stream` is stdout, stderr, console, or pytest for what the user asked pytest to say.
    """

    text: str
    stream: str = "stdout"
    step: str = ""


@dataclass(frozen=True, kw_only=True)
class ItemApplied(Event):
    """A configuration management tool is done with one of its items: an Ansible task, a Puppet resource, a Salt state.

    `text` says why it failed, or what changed; `location` is a file and line of this host.
    """

    tool: str
    item: str
    outcome: Literal["ok", "changed", "skipped", "failed", "ignored", "unreachable"]
    seconds: float = 0.0
    location: str = ""
    text: str = ""
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
    """An image is now the user's; `verdict` is what its smoke tests said, `untested` where none ran.

    `call` is what the command line calls it: the shortest name that means no other build's image.
    """

    name: str
    id: str
    format: str = ""
    size: int | None = None
    sha256: str = ""
    verdict: str = ""
    call: str = ""


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
