"""A whole life on OpenStack without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import BakeryError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.util.waiting import Cancel, until
from tests.contract import ec2life


class OneLedger(ec2life.OneLedger):
    """One ledger for a whole life: images are handed over at the end, the volumes they came from are not."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "snapshot"})


@dataclass
class Life:
    """One build's life.

    Args:
        source: what to build.
        folder: for claims.
        ledger: of everything; may crash.
        number: tells builds of one test apart.
    """

    source: OpenStack
    folder: Path
    ledger: OneLedger = field(default_factory=OneLedger)
    number: int = 0
    driver: OpenStackDriver = field(default_factory=OpenStackDriver)
    notices: list[str] = field(default_factory=list)

    def claim(self, role: str) -> Claim:
        folder = self.folder / f"{self.number}-{role}"
        folder.mkdir(parents=True, exist_ok=True)
        run = f"20261122-160627-{self.number:04x}"
        return Claim(
            cache=self.folder,
            run=run,
            build=f"web@cloud-{self.number}",
            role=role,
            name=f"bakery-{run}-{role}",
            folder=folder,
            keys=make_keys("life"),
            images=self.folder,
            ledger=self.ledger,
            driver="openstack",
            tags={"bakery:run": run, "bakery:build": "web@cloud", "bakery:expires": "2100-01-01T00:00:00Z"},
            emit=lambda event: self.notices.append(str(getattr(event, "message", ""))),
        )

    def up(self, handle: Handle) -> None:
        until(
            lambda: self.driver.endpoint(handle),
            what="it has an address",
            timeout=120,
            cancel=Cancel(),
            every=(0.02, 0.5),
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
            self.ledger.undo(OpenStackDriver())
