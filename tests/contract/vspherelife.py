"""A whole life on vSphere without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import BakeryError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.state.ssh_keys import Keys, make_keys
from bakery.util.waiting import Cancel, until
from tests.contract import ec2life

KEYS: Keys = make_keys("life")


class OneLedger(ec2life.OneLedger):
    """One ledger for a whole life: images are handed over at the end, with the names of older ones."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "aside"})


@dataclass
class Life:
    """One build's life.

    Args:
        source: what to build.
        folder: for claims.
        ledger: of everything; may crash.
        number: tells builds of one test apart.
    """

    source: VSphere
    folder: Path
    ledger: OneLedger = field(default_factory=OneLedger)
    number: int = 0
    driver: VSphereDriver = field(default_factory=VSphereDriver)
    notices: list[str] = field(default_factory=list[str])
    cancel: Cancel = field(default_factory=Cancel)

    @property
    def run(self) -> str:
        return f"20261129-160627-{self.number:04x}"

    def claim(self, role: str) -> Claim:
        folder = self.folder / f"{self.number}-{role}"
        folder.mkdir(parents=True, exist_ok=True)
        return Claim(
            cache=self.folder,
            cancel=self.cancel,
            run=self.run,
            build=f"web@vsphere-{self.number}",
            role=role,
            name=f"bakery-{self.run}-{role}",
            folder=folder,
            keys=KEYS,
            images=self.folder,
            ledger=self.ledger,
            driver="vsphere",
            tags={"bakery:run": self.run, "bakery:build": "web@vsphere", "bakery:expires": "2100-01-01T00:00:00Z"},
            emit=lambda event: self.notices.append(str(getattr(event, "message", ""))),
        )

    def up(self, handle: Handle) -> None:
        until(
            lambda: self.driver.endpoint(handle),
            what="it has an address",
            timeout=60,
            cancel=Cancel(),
            every=(0.02, 0.2),
        )

    def image(self) -> Artifact:
        handle = self.driver.launch(self.source, self.claim("build"))
        self.up(handle)
        return self.driver.capture(handle, "web", self.claim("image"))

    def whole(self) -> Artifact:
        """All of it; the machines are undone at the end, and what is kept is committed."""
        artifact = self.image()
        self.up(self.driver.launch(artifact, self.claim("smoke")))
        kept = self.driver.keep(artifact, "web", self.claim("keep"))
        self.ledger.undo(self.driver)
        return kept

    def tried(self) -> tuple[Artifact | None, str]:
        """The kept image, or what went wrong; then all is undone by another driver, as another process would."""
        try:
            return self.whole(), "ok"
        except BakeryError as error:
            return None, f"{type(error).__name__}: {error.what}: {error.why}"
        finally:
            self.ledger.undo(VSphereDriver())
