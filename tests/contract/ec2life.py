"""A whole life on EC2 without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bakery.drivers.ec2.driver import Ec2Driver
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError
from bakery.model import Artifact, Endpoint, Handle
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import RecordingLedger
from bakery.util.waiting import Cancel, until


class OneLedger(RecordingLedger):
    """One ledger for a whole life: what is handed over at the end are the images, not the machines."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "snapshot", "volume"})

    def commit(self) -> None:
        self._point()
        self.resources = {key: one for key, one in self.resources.items() if key[0] not in self.handed}
        self.committed = True
        self._point()


@dataclass
class Life:
    """One build's life.

    Args:
        source: what to build.
        folder: for claims.
        ledger: of everything; may crash.
        number: tells builds of one test apart.
    """

    source: Ec2
    folder: Path
    ledger: OneLedger = field(default_factory=OneLedger)
    number: int = 0
    driver: Ec2Driver = field(default_factory=Ec2Driver)
    notices: list[str] = field(default_factory=list)

    def claim(self, role: str) -> Claim:
        folder = self.folder / f"{self.number}-{role}"
        folder.mkdir(parents=True, exist_ok=True)
        run = f"life-{self.number}"
        return Claim(
            cache=self.folder,
            run=run,
            build=f"web@aws-{self.number}",
            role=role,
            name=f"bakery-{run}-{role}",
            folder=folder,
            keys=make_keys("life"),
            images=self.folder,
            ledger=self.ledger,
            driver="ec2",
            tags={"bakery:run": run, "bakery:build": "web@aws", "bakery:expires": "2100-01-01T00:00:00Z"},
            emit=lambda event: self.notices.append(str(getattr(event, "message", ""))),
        )

    def up(self, handle: Handle) -> Endpoint:
        return until(
            lambda: self.driver.endpoint(handle),
            what="it has an address",
            timeout=30,
            cancel=Cancel(),
            every=(0.02, 0.2),
        )

    def image(self) -> Artifact:
        handle = self.driver.launch(self.source, self.claim("build"))
        self.up(handle)
        return self.driver.capture(handle, "web", self.claim("image"))

    def smoke(self, artifact: Artifact) -> None:
        self.up(self.driver.launch(artifact, self.claim("smoke")))

    def keep(self, artifact: Artifact) -> Artifact:
        return self.driver.keep(artifact, "web", self.claim("keep"))

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
        except DriverError as error:
            self.ledger.undo(Ec2Driver())
            return None, f"{type(error).__name__}: {error.what}"
