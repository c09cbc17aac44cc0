"""What a driver is given to make a machine with: the journal's ear, fresh keys, a folder, and a way to be cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bakery.model import Login, Resource
from bakery.util.context import WorkContext

if TYPE_CHECKING:
    from bakery.state.ssh_keys import Keys


class Ledger(Protocol):
    """The journal, as a claim sees it."""

    def intend(self, resource: Resource) -> None:
        """Write durably that this is about to be made."""

    def made(self, resource: Resource) -> None:
        """Write durably that it exists, with its id."""

    def kept(self, resource: Resource) -> None:
        """Write durably that this one is not to be destroyed any more."""

    def commit(self) -> None:
        """Write durably that all that was made under this claim is the user's now."""


@dataclass(frozen=True, kw_only=True)
class Claim(WorkContext):
    """The right to make things for one machine of one build. All that is made under it is destroyed with it.

    Args:
        run: the run's id.
        role: what the machine is for: `build` or `smoke`; the image of a capture belongs to `build`.
        name: a name for the machine that is unique everywhere: `bakery-RUN-3`.
        folder: the machine's folder; exists, is private, lives as long as the run's folder.
        keys: the keys of this machine's life; `NO_KEYS` where none is started: for an image, and for keeping one.
        tags: what every resource must carry: `bakery:run`, `bakery:build`, `bakery:expires` (RFC 3339, UTC).
        images: the folder beside the imagefile where local images are kept.
        ledger: the journal.
        driver: the driver's name, for the journal.
        login: how the finished image is entered, for a machine that tests it.
        networked: True where the machine is put onto a private network while it runs.
        note: for a checkpoint that lives at a provider: a text to keep beside it, and to return from `recall`.
    """

    run: str
    role: str
    name: str
    folder: Path
    keys: Keys
    tags: Mapping[str, str]
    images: Path
    ledger: Ledger
    driver: str
    launch_timeout: float = 600.0
    note: str = ""
    login: Login = field(default_factory=Login)
    networked: bool = False

    def intend(self, kind: str, key: str | None = None, **data: Any) -> Intent:
        """Write down, durably, that a thing is about to be made.

        Args:
            kind: the driver's word for it.
            key: the name that we choose for it, before the provider does; the claim's name when not given.
            data: JSON data that `destroy` will need.
        """
        resource = Resource(
            driver=self.driver, kind=kind, key=key or self.name, run=self.run, build=self.build, data=data
        )
        self.ledger.intend(resource)
        return Intent(resource, self.ledger)

    def commit(self) -> None:
        """Hand over what was made under this claim: from here on no clean-up touches it.

        A driver's `keep` calls it at the one moment when the new image stands under its final name and the old one
        is not yet retired: a crash before it leaves the old image, a crash after it leaves the new one.
        """
        self.ledger.commit()


class Intent:
    """A thing that is about to be made; becomes a fact by `made`."""

    def __init__(self, resource: Resource, ledger: Ledger) -> None:
        self.resource = resource
        self._ledger = ledger

    def made(self, id: str | None = None, **data: Any) -> Resource:  # noqa: A002  the provider's word
        """Write down that it exists, and what the provider calls it. Returns the full record."""
        old = self.resource
        self.resource = Resource(
            driver=old.driver,
            kind=old.kind,
            key=old.key,
            id=id or old.key,
            run=old.run,
            build=old.build,
            data={**old.data, **data},
        )
        self._ledger.made(self.resource)
        return self.resource

    def keep(self) -> None:
        """Hand over this one thing alone: no clean-up touches it from here on."""
        self._ledger.kept(self.resource)
