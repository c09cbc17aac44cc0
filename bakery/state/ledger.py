"""What one claim holds: the journal's ear, and the list that a scope undoes."""

from __future__ import annotations

from dataclasses import dataclass, field

from bakery.model import Resource
from bakery.state.journal import Journal


@dataclass(eq=False)
class ClaimLedger:
    """What was made under one claim, in order: the journal's ear, and the list that `undo` works from."""

    journal: Journal
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict[tuple[str, str], Resource])

    def intend(self, resource: Resource) -> None:
        """Write down that a thing is about to be made."""
        self.resources[resource.kind, resource.key] = resource
        self.journal.intend(resource)

    def made(self, resource: Resource) -> None:
        """Write down that a thing exists, under the id that its provider gave it."""
        self.resources[resource.kind, resource.key] = resource
        self.journal.made(resource)

    def kept(self, resource: Resource) -> None:
        """Hand one thing over."""
        self.journal.kept(resource)
        self.resources.pop((resource.kind, resource.key), None)

    def commit(self) -> None:
        """Hand everything over to the user."""
        for resource in self.resources.values():
            self.journal.kept(resource)
        self.resources.clear()

    def hold(self) -> None:
        """Leave everything on purpose, for somebody to look at."""
        for resource in self.resources.values():
            self.journal.held(resource)
        self.resources.clear()


@dataclass(frozen=True, eq=False)
class MergedLedger:
    """The ledger of `keep`: it makes new things, and commits them together with the captured image."""

    new: ClaimLedger
    image: ClaimLedger

    def intend(self, resource: Resource) -> None:
        """Write down that a new thing is about to be made."""
        self.new.intend(resource)

    def made(self, resource: Resource) -> None:
        """Write down that a thing exists, under the id that its provider gave it."""
        self.new.made(resource)

    def kept(self, resource: Resource) -> None:
        """Hand one thing over."""
        self.new.kept(resource)

    def commit(self) -> None:
        """Hand both over, the image first."""
        self.image.commit()
        self.new.commit()
