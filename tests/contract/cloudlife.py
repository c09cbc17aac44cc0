"""A whole life in a cloud without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bakery.drivers.base import Driver
from bakery.errors import BakeryError
from bakery.model import Artifact, Endpoint, Handle
from bakery.state.claim import Claim
from bakery.state.ssh_keys import Keys, make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel, until

KEYS: Keys = make_keys("life")


class OneLedger(RecordingLedger):
    """One ledger for a whole life: what is handed over at the end are the images, not the machines."""

    handed: ClassVar[frozenset[str]] = frozenset({"image"})

    def commit(self) -> None:
        self._point()
        self.resources = {key: one for key, one in self.resources.items() if key[0] not in self.handed}
        self.committed = True
        self._point()


@dataclass
class CloudLife:
    """One build's life; each cloud's says which driver, and what its ledger hands over.

    Args:
        source: what to build.
        folder: for claims.
        ledger: of everything; may crash.
        number: tells builds of one test apart.
        driver: what is tried; a new one by default.
    """

    driver_class: ClassVar[type[Driver[Any]]]
    patience: ClassVar[float] = 60
    """Seconds until a machine has its address."""

    source: Any
    folder: Path
    ledger: OneLedger = field(default_factory=OneLedger)
    number: int = 0
    driver: Any = None
    notices: list[str] = field(default_factory=list[str])
    cancel: Cancel = field(default_factory=Cancel)

    def __post_init__(self) -> None:
        self.driver = self.driver or self.driver_class()

    @property
    def run(self) -> str:
        return f"20261122-160627-{self.number:04x}"

    def claim(self, role: str) -> Claim:
        folder = self.folder / f"{self.number}-{role}"
        folder.mkdir(parents=True, exist_ok=True)
        return Claim(
            cache=self.folder,
            cancel=self.cancel,
            run=self.run,
            build=f"web@cloud-{self.number}",
            role=role,
            name=f"bakery-{self.run}-{role}",
            folder=folder,
            keys=KEYS,
            images=self.folder,
            ledger=self.ledger,
            driver=self.driver_class.name,
            tags={"bakery:run": self.run, "bakery:build": "web@cloud", "bakery:expires": "2100-01-01T00:00:00Z"},
            emit=lambda event: self.notices.append(str(getattr(event, "message", ""))),
        )

    def up(self, handle: Handle) -> Endpoint:
        endpoint: Endpoint = until(
            lambda: self.driver.endpoint(handle),
            what="it has an address",
            timeout=self.patience,
            cancel=Cancel(),
            every=(0.02, 0.2),
        )
        return endpoint

    def image(self) -> Artifact:
        handle = self.driver.launch(self.source, self.claim("build"))
        self.up(handle)
        artifact: Artifact = self.driver.capture(handle, "web", self.claim("image"))
        return artifact

    def smoke(self, artifact: Artifact) -> None:
        self.up(self.driver.launch(artifact, self.claim("smoke")))

    def keep(self, artifact: Artifact) -> Artifact:
        kept: Artifact = self.driver.keep(artifact, "web", self.claim("keep"))
        return kept

    def whole(self) -> Artifact:
        """All of it; the machines are undone at the end, and what is kept is committed."""
        artifact = self.image()
        self.smoke(artifact)
        kept = self.keep(artifact)
        self.ledger.undo(self.driver)
        return kept

    def tried(self) -> tuple[Artifact | None, str]:
        """The kept image, or what went wrong; then all is undone by another driver, as another process would."""
        try:
            return self.whole(), "ok"
        except BakeryError as error:
            return None, f"{type(error).__name__}: {error.what}: {error.why}"
        finally:
            self.ledger.undo(self.driver_class())
