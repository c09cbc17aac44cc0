"""What a machine starts from: a disk on this host, an appliance to import, or a machine to clone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from bakery.disk.bases.base import Base
from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.appliance_files import local_file
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.errors import ImagefileError, PreflightError
from bakery.model import Artifact
from bakery.util.context import WorkContext

DISKS = frozenset({"qcow2", "raw", "vdi", "vmdk", "vhd"})
"""Formats that a disk can be copied from."""
APPLIANCES = frozenset({"ova"})
HINT = "Debian(...), CloudImage(...), an @bakery.image function, an Artifact, Appliance(...) or RegisteredMachine(...)"


@dataclass(frozen=True)
class StartDisk:
    """A disk to copy.

    Args:
        path: the file, never written to.
        format: `qcow2`, `raw`, `vdi`, `vmdk`, `vhd`.
    """

    path: Path
    format: str


@dataclass(frozen=True)
class StartAppliance:
    """An OVA or OVF to import."""

    path: Path


Start = StartDisk | StartAppliance | RegisteredMachine


def resolve(base: Any, work: WorkContext) -> Start:
    """Return what a machine starts from, made or downloaded where it has to be.

    Raises:
        ImagefileError: VirtualBox cannot start from that.
        PreflightError: it is not there, or not what its checksum says.
    """
    match base:
        case Base():
            made = base.disk(work)
            return StartDisk(made.path.absolute(), made.format)
        case Artifact():
            return _artifact(base)
        case Appliance():
            return StartAppliance(local_file(base, work))
        case RegisteredMachine():
            return base
    raise no_base(base)


def no_base(base: Any) -> ImagefileError:
    """Say that no machine can start from what the user wrote as base; a bare name is most likely one of these."""
    text = str(base) if isinstance(base, str | PurePath) else ""
    hint = f"Appliance({text!r})" if text.endswith((".ova", ".ovf")) else HINT
    return ImagefileError(f"VirtualBox(base={base!r}): not something that a machine can start from", hint=hint)


def _artifact(image: Artifact) -> Start:
    path = Path(image.id)
    if not path.is_absolute():
        raise PreflightError(f"the image {image.name} is not a file on this host", why=f"{image.driver} {image.id}")
    if image.format in APPLIANCES:
        return StartAppliance(path)
    if image.format not in DISKS:
        raise PreflightError(f"VirtualBox cannot start from an image of the format {image.format!r}", hint=HINT)
    return StartDisk(path, image.format)
