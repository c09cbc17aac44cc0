"""What a container can start from: a base that is a tree, or a disk whose files are copied out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bakery.disk import image_files
from bakery.disk.bases.base import Base, BaseDisk, BaseTree
from bakery.drivers.nspawn import disk_to_tree
from bakery.drivers.nspawn.source import Rooted
from bakery.drivers.qemu.machine_spec import MachineSpec
from bakery.errors import DriverError
from bakery.model import Artifact, Problem, from_json
from bakery.util.context import WorkContext
from bakery.util.sparse_files import digest

HINT = "Debian(...), CloudImage(...), an @bakery.image function, or an Artifact that is a disk on this host"


def check(base: Any) -> Iterator[Problem]:
    """Yield what would stop `tree`."""
    match base:
        case Rooted():
            yield from base.check()
        case Base():
            yield from base.check()
            yield from disk_to_tree.check()
        case Artifact():
            yield from _check_image(base)
            yield from disk_to_tree.check()
        case _:
            yield Problem(what=f"Nspawn cannot start from {type(base).__name__}", hint=HINT)


def tree(base: Any, work: WorkContext) -> BaseTree:
    """Make the tree of a base, or find it in the cache.

    Raises:
        DriverError: it is none that a container can start from.
    """
    match base:
        case Rooted():
            return base.tree(work)
        case Base():
            return disk_to_tree.tree(base.disk(work), work)
        case Artifact():
            return disk_to_tree.tree(_disk(base, work), work)
    raise DriverError(f"Nspawn cannot start from {type(base).__name__}", hint=HINT)


def _check_image(image: Artifact) -> Iterator[Problem]:
    there = image_files.intact(image) if image.sha256 else Path(image.id).is_absolute() and Path(image.id).is_file()
    if not there:
        yield Problem(what=f"the image {image.name} is gone or was changed", why=image.id, hint="bake it again")


def _disk(image: Artifact, work: WorkContext) -> BaseDisk:
    """Return the disk of an image of ours, or of one that a user names by its path."""
    for problem in _check_image(image):
        raise DriverError(problem.what, why=problem.why, hint=problem.hint)
    return BaseDisk(
        path=image.path,
        format="raw" if image.format == "raw" else "qcow2",
        key=image.sha256 or digest(image.path, "sha256", work),
        login="credentials" if from_json(MachineSpec, image.settings).login == "credentials" else "nocloud",
    )
