"""One try of a build on a worker, as the client knows it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bakery.build.cluster.connection import SILENT, KnownWorker
from bakery.build.context import RunContext
from bakery.errors import BakeryError
from bakery.events import Event
from bakery.imagefile.base_images import LOCAL
from bakery.model import Artifact, Resource
from bakery.reporting.replay import event_of
from bakery.state.journal import LIVE, Op


@dataclass(frozen=True)
class Mail:
    """What a worker says of one try: its clock less ours in seconds, and messages in order."""

    worker: KnownWorker
    attempt: str
    skew: float
    messages: tuple[str, ...]


@dataclass(kw_only=True)
class Try:
    """One try of a build.

    Args:
        number: the worker's name for it.
        worker: where it is.
        skew: seconds that the worker's clock is ahead of ours.
    """

    number: str
    worker: KnownWorker
    skew: float
    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    project: str = ""
    state: str = ""
    artifact: Artifact | None = None
    done: Mapping[str, Any] | None = None
    lost: bool = False
    asks: bool = False
    backlog: list[str] = field(default_factory=list[str])
    resources: dict[tuple[str, str, str], tuple[Op, Resource]] = field(
        default_factory=dict[tuple[str, str, str], tuple[Op, Resource]]
    )

    @property
    def place(self) -> str:
        """The worker's name and its host's."""
        return f"{self.worker.name} on {self.worker.host}"

    @property
    def is_silent(self) -> bool:
        """True while the worker does not answer."""
        return time.monotonic() - self.heard > SILENT

    def note(self, op: Op, resource: Resource) -> None:
        """Remember a line of its journal."""
        self.resources[resource.driver, resource.kind, resource.key] = op, resource

    def left(self, *, kept: bool = False) -> list[Resource]:
        """Return what it may have left, oldest first.

        Args:
            kept: also the image that it kept, which nobody has taken.
        """
        wanted = LIVE | ({"kept"} if kept else set())
        return [resource for op, resource in self.resources.values() if op in wanted]

    def here(self, text: str, run: RunContext) -> str:
        """Return a text of the worker's with this host's paths in it."""
        places = (
            (f"{self.state}/runs/{run.folder.id}", run.folder.path),
            (f"{self.state}/images", run.state.images_folder),
            (self.project, run.imagefile.parent),
        )
        for there, here in places:
            if self.state:
                text = text.replace(_quoted(there), _quoted(str(here)))
        return text

    def error_here(self, error: BakeryError, run: RunContext) -> BakeryError:
        """Return an error of the worker's with this host's paths in it."""
        for part in ("what", "why", "hint"):
            setattr(error, part, self.here(getattr(error, part), run))
        if error.where is not None:
            error.where = replace(error.where, file=type(error.where.file)(self.here(str(error.where.file), run)))
        return error

    def event(self, text: str, run: RunContext) -> Event | None:
        """Return an event as one of this host: its paths, and its time by our clock."""
        event = event_of(self.here(text, run))
        return None if event is None else replace(event, time=event.time - self.skew)


def is_of_its_host(resource: Resource) -> bool:
    """Say whether a thing is gone with the host where it was made: a process, a file."""
    return resource.driver in {*LOCAL, "virtualbox"} or Path(resource.key).is_absolute()


def _quoted(text: str) -> str:
    return json.dumps(text)[1:-1]
