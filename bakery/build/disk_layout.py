"""Partitions of the user's own, which a fresh machine is given before its first task."""

from __future__ import annotations

from collections.abc import Iterator

from bakery.build.job import Job
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.disk.partitions import Disk
from bakery.model import Problem
from bakery.provision.storage import apply_layout


def _disk(job: Job) -> Disk | None:
    disk = getattr(job.build.boot, "disk", None)
    return disk if isinstance(disk, Disk) else None


def check(job: Job) -> Iterator[Problem]:
    """Yield which passphrases of encrypted partitions are no secrets that somebody gave."""
    disk = _disk(job)
    for name in disk.secrets if disk is not None else ():
        if name not in job.secrets:
            yield Problem(
                what=f"Partition(encrypted_by={name!r}): no secret of that name was given",
                why=str(job.missing_secrets.get(name, "it names a variable that is declared with bakery.secret(...)")),
                hint=f"{name}: bakery.Secret = bakery.secret(env=...) in the class of variables",
            )


def enter(scope: Scope, running: RunningMachine) -> None:
    """Fill and mount the partitions of a machine that has just booted from its base for the first time."""
    disk = _disk(scope.job)
    if disk is not None and disk.layout:
        apply_layout(running.machine.for_step("disk layout"), disk.layout, scope.job.secrets)
