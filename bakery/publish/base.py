"""What it takes to publish a local image at a provider."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from bakery.claim import Claim
from bakery.model import Artifact, Problem


class Publisher(ABC):
    """Takes a local image to a provider. What comes of it is an image like any other: launched, smoke tested, kept.

    The run asks `publish` for an image under a temporary name, boots a machine of it with the driver named `driver`,
    smoke tests that, and lets the same driver keep it. Nothing is the user's before.
    """

    driver: ClassVar[str]
    """Name of the driver that launches and keeps what comes of it."""

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
