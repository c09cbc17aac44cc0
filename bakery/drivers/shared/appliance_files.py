"""Appliances as files of this host: found, downloaded once, compared with their checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from xml.etree import ElementTree as ET

from bakery.disk.bases import disk_file
from bakery.disk.bases.checksum import Checksum
from bakery.drivers.shared.appliance import Appliance
from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from bakery.util.lock import hold
from bakery.util.sparse_files import digest


def local_file(wanted: Appliance, work: WorkContext) -> Path:
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


def content_key(wanted: Appliance, work: WorkContext) -> str:
    """Return the key of an appliance's content: its digest; of an OVF and all files that it names.

    Raises:
        PreflightError: a file is not there, or is none of its kind.
    """
    if not wanted.location.endswith(".ovf"):
        return wanted.sha256 or digest(local_file(wanted, work), "sha256", work)
    whole = hashlib.sha256()
    for file in files_of(local_file(wanted, work)):
        whole.update(f"{file.name} {digest(file, 'sha256', work)}\n".encode())
    return whole.hexdigest()


def files_of(ovf: Path) -> list[Path]:
    """Return an OVF and the files that it names, beside it.

    Raises:
        PreflightError: it is no OVF, or a file that it names is not there.
    """
    try:
        root = ET.parse(ovf).getroot()  # noqa: S314  expat ends at bombs, and the hypervisor reads it next
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
    from bakery.disk.bases.download import Downloader  # httpx takes long to import

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
