"""What a machine starts from: a disk on this host, an appliance to import, or a machine to clone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree as ET

from bakery.disk.bases import disk_file
from bakery.disk.bases.base import Base
from bakery.disk.bases.checksum import Checksum
from bakery.disk.bases.download import Downloader
from bakery.drivers.virtualbox.options import Appliance, RegisteredMachine
from bakery.errors import ImagefileError, PreflightError
from bakery.model import Artifact
from bakery.util.context import WorkContext
from bakery.util.lock import hold
from bakery.util.sparse_files import digest

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
            return StartAppliance(appliance(base, work))
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


def appliance(wanted: Appliance, work: WorkContext) -> Path:
    """Return an appliance's file, downloaded where it is an address, and checked where its checksum is given.

    Raises:
        PreflightError: it is not there, or not what its checksum says.
    """
    if wanted.remote:
        return _downloaded(wanted, work)
    path = Path(wanted.location).absolute()
    if not path.is_file():
        raise PreflightError(f"there is no appliance {wanted.location}", why=f"{path} is no file")
    if wanted.sha256 and digest(path, "sha256", work) != wanted.sha256:
        raise PreflightError(
            f"the appliance {wanted.location} is not the one that was meant", why="its SHA-256 differs"
        )
    return path


def key(wanted: Appliance, work: WorkContext) -> str:
    """Return the key of an appliance's content: its digest; of an OVF and all files that it names.

    Raises:
        PreflightError: a file is not there, or is none of its kind.
    """
    if not wanted.location.endswith(".ovf"):
        return wanted.sha256 or digest(appliance(wanted, work), "sha256", work)
    whole = hashlib.sha256()
    for file in files_of(appliance(wanted, work)):
        whole.update(f"{file.name} {digest(file, 'sha256', work)}\n".encode())
    return whole.hexdigest()


def files_of(ovf: Path) -> list[Path]:
    """Return an OVF and the files that it names, beside it.

    Raises:
        PreflightError: it is no OVF, or a file that it names is not there.
    """
    try:
        root = ET.parse(ovf).getroot()  # noqa: S314  expat ends at bombs, and VirtualBox reads it next
    except (OSError, ET.ParseError) as error:
        raise PreflightError(f"the appliance {ovf.name} cannot be read", why=str(error)) from error
    # OVF 1 and 2 have namespaces of their own.
    attributes = [item for element in root.iterfind("{*}References/{*}File") for item in element.items()]
    files = [ovf, *(ovf.parent / value for name, value in attributes if name.endswith("}href"))]
    if missing := [file.name for file in files if not file.is_file()]:
        raise PreflightError(
            f"the appliance {ovf.name} is not whole: {', '.join(missing)} is missing",
            why=f"an OVF is several files, which belong together in {ovf.parent}",
        )
    return files


def _downloaded(wanted: Appliance, work: WorkContext) -> Path:
    """Return the file in the cache, where it lies under its digest; downloaded once for all builds."""
    checksum = Checksum("sha256", wanted.sha256)
    path = work.cache / "appliances" / wanted.sha256 / "appliance.ova"
    with hold(path.with_name("lock"), what=f"another bake is downloading {wanted.location}", work=work):
        if path.exists() and disk_file.intact(path, work):
            return path
        if work.offline:
            raise PreflightError(f"{wanted.location} is not in the cache", why="nothing may be downloaded: --offline")
        disk_file.drop(path)
        part = path.with_name("appliance.ova.download")
        Downloader(work=work).fetch([wanted.location], checksum, part)
        part.replace(path)
        disk_file.record(path, work, known=checksum)
    return path
