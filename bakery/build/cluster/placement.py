"""Which workers a build would best go to: where its base and its checkpoints are, as long as that is fair to others."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bakery.build.cluster.connection import Connection, KnownWorker
from bakery.cache.inputs.digest import of_json
from bakery.disk.bases.base import Base
from bakery.errors import DriverError
from bakery.imagefile.builds import Build
from bakery.model import to_json

PATIENCE: Final = 5.0
"""Seconds that a worker may take to say what it has."""


@dataclass(frozen=True)
class Holdings:
    """What a worker has already.

    Args:
        builds: those of which it has checkpoints, with how many of each.
        bases: digests of bases that it has started from; see `base_digest`.
    """

    builds: Mapping[str, int] = field(default_factory=dict[str, int])
    bases: frozenset[str] = frozenset()


class BuildPlacement:
    """Chooses workers for the builds of a run.

    Nothing depends on it: Dask gives a build to another worker where none of these is there any more.

    Args:
        builds: how many there are.
    """

    def __init__(self, builds: int) -> None:
        self._builds = builds
        self._lock = threading.Lock()
        self._holdings: dict[str, Holdings] = {}
        self._images: dict[str, str] = {}
        self._given: dict[str, int] = {}

    def look(self, connection: Connection, workers: Sequence[KnownWorker], builds: Sequence[Build]) -> None:
        """Ask the workers what they have; one that does not answer has nothing.

        Args:
            connection: to the cluster.
            workers: those to ask.
            builds: what is to be made.
        """
        names = [build.name for build in builds]
        for worker in workers:
            try:
                told: Mapping[str, Any] = connection.call(
                    worker.address, "bake_holdings", patience=PATIENCE, builds=names
                )
            except DriverError:
                continue
            self._holdings[worker.address] = Holdings(dict(told["builds"]), frozenset(told["bases"]))

    def remember_image(self, digest: str, address: str) -> None:
        """Note where an image's file is, for builds that stand on it."""
        self._images[digest] = address

    def best(self, build: Build, image: str, workers: Sequence[KnownWorker]) -> list[str]:
        """Return the addresses of the workers where a build would best be; none where that does not matter.

        Args:
            build: the build.
            image: digest of the image's file that it stands on; empty where it is none.
            workers: those that could take it.
        """
        addresses = [worker.address for worker in workers]
        if self._images.get(image, "") in addresses:
            return [self._images[image]]
        with self._lock:
            for chosen in (self._with_checkpoints(build, workers), self._with_base(build, workers)):
                fair = [worker.address for worker in chosen if self._is_fair(worker, workers)]
                if fair and len(fair) < len(workers):
                    best = fair[0] if len(fair) == 1 else min(fair, key=lambda address: self._given.get(address, 0))
                    self._given[best] = self._given.get(best, 0) + 1
                    return [best]
        return []

    def _with_checkpoints(self, build: Build, workers: Sequence[KnownWorker]) -> list[KnownWorker]:
        """Return the workers that have the most checkpoints of a build."""
        counts = {worker.address: self._of(worker).builds.get(build.name, 0) for worker in workers}
        most = max(counts.values(), default=0)
        return [worker for worker in workers if most and counts[worker.address] == most]

    def _with_base(self, build: Build, workers: Sequence[KnownWorker]) -> list[KnownWorker]:
        digest = base_digest(build)
        return [worker for worker in workers if digest and digest in self._of(worker).bases]

    def _of(self, worker: KnownWorker) -> Holdings:
        return self._holdings.get(worker.address) or Holdings()

    def _is_fair(self, worker: KnownWorker, workers: Sequence[KnownWorker]) -> bool:
        """Say whether a worker has not been given more than its share: others would stand idle meanwhile."""
        slots = worker.offer.get("slots", 1.0)
        share = self._builds * slots / sum(other.offer.get("slots", 1.0) for other in workers)
        return self._given.get(worker.address, 0) < max(slots, math.ceil(share))


def base_digest(build: Build) -> str:
    """Return what names a base on all hosts, whether it is made there already or not; empty for one at a provider."""
    base = build.boot.base
    return of_json([type(base).__name__, to_json(base)])[:40] if isinstance(base, Base) else ""
