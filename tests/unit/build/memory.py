"""A provider in memory, and runs on it: what is launched, captured and destroyed is a line in a list."""

# ruff: noqa: ARG002  a driver has arguments that one in memory does not need
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

import bakery.machine.transport.ssh
from bakery.build.context import BuildOptions, RunContext
from bakery.build.job import Jobs
from bakery.build.run import Outcome, build
from bakery.drivers.base import Driver
from bakery.drivers.registry import Registry
from bakery.events import Event, Notice, PhaseEnded, StepEnded
from bakery.imagefile import loader
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.variables import Settings
from bakery.machine.boot_times import SCRIPT as BOOT
from bakery.machine.packages import SCRIPT as PACKAGES
from bakery.model import EMPTY, Artifact, Checkpoint, Endpoint, Handle, Problem, Resource, Source, Where
from bakery.redaction.redactor import Redactor
from bakery.reporting.bus import Bus
from bakery.smoke.identity import SCRIPT
from bakery.state.claim import Claim
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State
from bakery.util.waiting import Cancel
from tests.unit.machine.box import Box, Door

E = TypeVar("E", bound=Event)

HEAD = """
import bakery
from tests.unit.build.memory import Memory

@bakery.source
def here() -> Memory:
    return Memory(base="debian-12")
"""


@dataclass(frozen=True, kw_only=True)
class Memory(Source):
    """A machine in memory."""

    driver: ClassVar[str] = "memory"
    base: Any = None


@dataclass
class MemoryDriver(Driver[Memory]):
    """Says what was asked of it; raises what a test tells it to, once each."""

    name: ClassVar[str] = "memory"
    source: ClassVar[type[Source]] = Memory
    asked: list[str] = field(default_factory=list[str])
    there: dict[str, Resource] = field(default_factory=dict[str, Resource])
    raises: dict[str, list[Exception]] = field(default_factory=dict[str, list[Exception]])
    problems: list[Problem] = field(default_factory=list[Problem])
    may_overlap: bool = False
    saves_boot_here: bool = False
    provider_checkpoints: list[tuple[Checkpoint, str]] = field(default_factory=list[tuple[Checkpoint, str]])
    destroying: threading.Event = field(default_factory=threading.Event)

    @property
    def saves_boot(self) -> bool:  # type: ignore[override]  # a class variable of real drivers
        return self.saves_boot_here

    def _ask(self, verb: str, what: str = "") -> None:
        self.asked.append(f"{verb} {what}".strip())
        if waiting := self.raises.get(verb):
            raise waiting.pop(0)

    def check(self, boot: Memory) -> Iterator[Problem]:
        yield from self.problems

    def launch(self, boot: Memory | Artifact | Checkpoint, claim: Claim) -> Handle:
        intent = claim.intend("machine")
        self._ask("launch", f"{claim.role} from {_name(boot)}")
        resource = intent.made(claim.name)
        self.there[resource.key] = resource
        return Handle(driver=self.name, id=claim.name, resource=resource, folder=claim.folder)

    def endpoint(self, handle: Handle) -> Endpoint:
        return Endpoint(host="127.0.0.1", port=22)

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        intent = claim.intend("image")
        self._ask("capture", name)
        self.there[claim.name] = intent.made(claim.name)
        return Artifact(driver=self.name, id=claim.name, name=name, format="memory")

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        self._ask("keep", name)
        return artifact

    def intact(self, artifact: Artifact) -> bool:
        return artifact.id in self.there

    def destroy(self, resource: Resource) -> None:
        self._ask("destroy", resource.kind)
        self.there.pop(resource.key, None)

    def find(self, where: Where) -> Iterator[Resource]:
        yield from self.there.values()

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        self._ask("checkpoint", key)
        (folder / "disk").write_text(key, encoding="utf-8")
        return Checkpoint(driver=self.name, key=key, folder=folder)

    def list_checkpoints(self, boot: Memory, build: str) -> Iterator[tuple[Checkpoint, str]]:
        yield from self.provider_checkpoints

    def overlaps(self, boot: Memory) -> bool:
        return self.may_overlap

    def prepare_launch(self, boot: Memory, claim: Claim) -> None:
        self._ask("prepare", claim.role)

    def verbs(self, *wanted: str) -> list[str]:
        """What was asked of it, of some verbs."""
        return [asked for asked in self.asked if asked.split()[0] in wanted]


def _name(boot: Memory | Artifact | Checkpoint) -> str:
    match boot:
        case Checkpoint():
            return boot.key
        case Artifact():
            return boot.id
        case _:
            return boot.base.id if isinstance(boot.base, Artifact) else "source"


@dataclass
class Project:
    """An imagefile, a provider, a machine that answers, and runs on them."""

    folder: Path
    driver: MemoryDriver = field(default_factory=MemoryDriver)
    box: Box = field(
        default_factory=lambda: (
            Box().answer(SCRIPT, "machine-id 0123\n").answer(PACKAGES, "").answer(BOOT, "").answer("true", "")
        )
    )
    events: list[Event] = field(default_factory=list[Event])
    open_journals: list[Journal] = field(default_factory=list[Journal])

    def write(self, text: str, head: str = HEAD) -> None:
        """Write the imagefile."""
        (self.folder / "imagefile.py").write_text(head + text, encoding="utf-8")

    @property
    def state(self) -> State:
        """Its `.bakery`."""
        return State(self.folder / ".bakery", self.folder / "cache")

    def run(self, *, ask: Any = None, cancel: Cancel | None = None, **options: Any) -> RunContext:
        """Begin a run; smoke tests are another room's, so it tests only where that is said."""
        recipe = loader.load(self.folder / "imagefile.py")
        jobs = Jobs(plan(recipe, Settings()), recipe, Settings())
        folder = self.state.new_run()
        bus = Bus(folder.id, Redactor())
        bus.add(self)
        drivers = Registry()
        drivers.add(self.driver)
        journal = Journal(folder.path)
        self.open_journals.append(journal)
        return RunContext(
            jobs=jobs,
            options=_options(**options),
            state=self.state,
            folder=folder,
            journal=journal,
            bus=bus,
            redactor=Redactor(),
            drivers=drivers,
            cancel=cancel or Cancel(),
            ask=ask,
        )

    def build(self, *names: str, environ: Mapping[str, str] = EMPTY, **options: Any) -> Outcome:
        """Make images, as `bake build` does."""
        recipe, settings = loader.load(self.folder / "imagefile.py"), Settings(environ=environ)
        drivers = Registry()
        drivers.add(self.driver)
        return build(
            plan(recipe, settings, Selection(images=names)),
            recipe,
            settings,
            _options(**{"jobs": 1, **options}),
            self.state,
            readers=[self],
            drivers=drivers,
        )

    def read(self, event: Event) -> None:
        """Hear an event, as a reporter does."""
        self.events.append(event)

    def close(self) -> None:
        """End the runs."""
        while self.open_journals:
            self.open_journals.pop().close()

    def of(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Which steps ended how."""
        return [(event.step, event.outcome) for event in self.of(StepEnded)]

    @property
    def notices(self) -> list[str]:
        """What the user was told besides."""
        return [event.message for event in self.of(Notice)]

    @property
    def phases(self) -> list[tuple[str, str]]:
        """Which phases ended how."""
        return [(event.phase, event.outcome) for event in self.of(PhaseEnded)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder)
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", Door(made.box))
    yield made
    made.close()


def _options(**chosen: Any) -> BuildOptions:
    """Smoke tests are another room's: a run tests only where that is said."""
    chosen.setdefault("test", False)
    return BuildOptions(**chosen)


def answering(*choices: str) -> tuple[Callable[..., Any], list[str]]:
    """A user who answers, and what they were asked."""
    heard: list[str] = []
    left: Sequence[str] = list(choices)

    def ask(step: str, error: BaseException, shell: Callable[[], None], check: Callable[[], None]) -> str:
        del shell
        check()
        heard.append(f"{step}: {getattr(error, 'what', error)}")
        return left[len(heard) - 1]

    return ask, heard


def left_in(folder: RunFolder) -> list[str]:
    """What a run's journal says is still there."""
    return [entry.resource.kind for entry in folder.replay().live()]
