"""What it takes to publish a local image at a provider."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from bakery.model import Artifact, Problem, Source
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class Publisher(Source, ABC):
    """A source that begins with an image made here: it takes that to a provider, and no task runs there.

    What comes of it is an image like any other. The run asks `publish` for one under a temporary name, boots a machine
    of it with the driver named `driver`, smoke tests that, and lets the same driver keep it. Nothing is the user's
    before.

    Args:
        base: the source whose image is published, as a function of the same image; None for the only one there is.
            Or another `@bakery.image`.
    """

    publishes: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = frozenset({"qemu", "nspawn"})
    """Names of the drivers whose images it can read."""
    base: Any = None

    @abstractmethod
    def check(self) -> Iterator[Problem]:
        """Look, read-only, at whatever would make it fail; yield all problems at once."""

    @abstractmethod
    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Upload a local image and make an image of it under a temporary name.

        Args:
            artifact: the local image, `qcow2` or `raw`.
            name: what it will be called once it is kept.
            claim: for the image, and for all that is made on the way.

        Raises:
            DriverError: the provider refused.
        """
