"""What a cluster looks like now: its workers, what they build, and what waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bakery.build.cluster.connection import Connection, KnownWorker
from bakery.errors import DriverError

VERSION: Final = 1
PREFIX: Final = "bake-"
"""How the keys of our builds begin, among those of others who use the scheduler."""


@dataclass(frozen=True, kw_only=True)
class WorkerOverview:
    """A worker.

    Args:
        name, host, address: where it is.
        arch: its processor's architecture.
        slots: builds at once.
        memory: bytes.
        cpus: processors.
        labels: how many of each.
        drivers: those that it can use.
        accel: what runs virtual machines: `kvm`, or `tcg`, which emulates them.
        bases: first disks and trees in its cache.
        builds: what it builds now: `attempt`, `run` and `build` of each.
        answers: whether it can be reached from here.
    """

    name: str
    host: str
    address: str
    arch: str
    slots: int
    memory: int
    cpus: int
    labels: Mapping[str, int]
    drivers: tuple[str, ...]
    accel: str = ""
    bases: tuple[str, ...] = ()
    builds: tuple[Mapping[str, str], ...] = ()
    answers: bool = True


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A cluster: its workers, and the keys of builds that wait for one."""

    workers: tuple[WorkerOverview, ...] = ()
    waiting: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"version": VERSION, **asdict(self)}


def overview(connection: Connection) -> Overview:
    """Look at a cluster.

    Raises:
        DriverError: its scheduler does not answer.
    """
    workers = tuple(_seen(connection, worker) for worker in connection.workers())
    return Overview(workers=workers, waiting=tuple(connection.waiting(PREFIX)))


def _seen(connection: Connection, worker: KnownWorker) -> WorkerOverview:
    try:
        builds, answers = tuple(connection.call(worker.address, "bake_attempts")), True
        bases = tuple(connection.call(worker.address, "bake_holdings", builds=[])["cached"])
    except DriverError:
        builds, bases, answers = (), (), False
    words = [name.partition(" ") for name in worker.offer]
    return WorkerOverview(
        name=worker.name,
        host=worker.host,
        address=worker.address,
        arch=next((what for kind, _, what in words if kind == "arch"), ""),
        slots=int(worker.offer.get("slots", 0)),
        memory=int(worker.offer.get("memory", 0)),
        cpus=int(worker.offer.get("cpus", 0)),
        labels={what: int(worker.offer[f"label {what}"]) for kind, _, what in words if kind == "label"},
        drivers=tuple(sorted(what for kind, _, what in words if kind == "driver")),
        accel=next((what for kind, _, what in words if kind == "accel"), ""),
        bases=bases,
        builds=builds,
        answers=answers,
    )
