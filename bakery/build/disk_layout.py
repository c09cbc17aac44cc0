"""Partitions of the user's own, which a fresh machine is given before its first task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bakery.build.job import Job
from bakery.disk.image_files import DISKS
from bakery.disk.partitions import Disk
from bakery.model import Artifact, Problem

if TYPE_CHECKING:
    from bakery.build.running import RunningMachine
    from bakery.build.scope import Scope


def _disks(job: Job) -> list[Disk]:
    boot = job.build.boot
    disks = (getattr(boot, "disk", None), *getattr(boot, "disks", ()))
    return [disk for disk in disks if isinstance(disk, Disk)]


def check(job: Job) -> Iterator[Problem]:
    """Yield which passphrases of encrypted partitions nobody gave, and which disks of a base would be lost."""
    yield from _lost_disks(job)
    for name in (name for disk in _disks(job) for name in disk.secrets):
        if name not in job.secrets:
            yield Problem(
                what=f"Partition(encrypted_by={name!r}): no secret of that name was given",
                why=str(job.missing_secrets.get(name, "it names a variable that is declared with bakery.secret(...)")),
                hint=f"{name}: bakery.Secret = bakery.secret(env=...) in the class of variables",
            )


def _lost_disks(job: Job) -> Iterator[Problem]:
    """Yield that a base from elsewhere has disks which this driver would not take along."""
    base = job.build.boot.base
    if isinstance(base, Artifact) and base.data.get(DISKS) and job.build.driver != "qemu":
        yield Problem(
            what=f"{base.name} is an image of several disks, and {type(job.build.boot).__name__} takes the first",
            hint="build on it with Qemu(...)",
        )


def enter(scope: Scope, running: RunningMachine) -> None:
    """Fill and mount the partitions of a machine that has just booted from its base for the first time."""
    if layout := [part for disk in _disks(scope.job) for part in disk.layout]:
        from bakery.provision.storage import apply_layout

        with scope.phase("layout"):
            apply_layout(running.machine.for_step("disk layout"), layout, scope.job.secrets)
