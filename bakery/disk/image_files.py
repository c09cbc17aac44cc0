"""Finished images as files beside the imagefile: written under a temporary name, kept by a rename."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bakery.disk import qemuimg
from bakery.disk.qemuimg import Compression, Format
from bakery.model import Artifact, Resource
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.files import flush
from bakery.util.sparse_files import digest

KIND = "file"
"""The journal's word for an image that is not kept yet."""
DISKS = "disks"
"""In an image's data: what its further disks are, each a file beside the first."""


def write(
    source: Mapping[str, Any],
    name: str,
    *,
    format: Format,  # noqa: A002  qemu-img's word
    settings: Mapping[str, Any],
    claim: Claim,
    compression: Compression = "zstd",
) -> Artifact:
    """Turn a machine's disk into an image under a temporary name.

    Args:
        source: the disk of a machine that is powered off, as `qemuimg.convert` takes it.
        name: what the image will be called once it is kept.
        format: of the image.
        claim: for the image.
        compression: of a qcow2 image.
        settings: JSON data, what the QEMU driver needs to boot it; see `bakery.drivers.qemu.machine_spec.MachineSpec`.

    Raises:
        DriverError: qemu-img failed; with its words.
    """

    def converted(path: Path) -> str:
        qemuimg.convert(source, path, format=format, work=claim, compression=compression)
        return digest(path, "sha256", claim)

    return make(converted, name, format=format, settings=settings, claim=claim)


def make(
    write_to: Callable[[Path], str],
    name: str,
    *,
    format: str,  # noqa: A002  the same
    settings: Mapping[str, Any],
    claim: Claim,
) -> Artifact:
    """Make an image under a temporary name.

    Args:
        write_to: writes the file, and returns its SHA-256.
        name, format, settings, claim: as for `write`.
    """
    claim.images.mkdir(parents=True, exist_ok=True)
    unique = hashlib.sha256(claim.name.encode()).hexdigest()[:12]
    path = (claim.images / f".{name}.{unique}.{format}").absolute()
    intent = claim.intend(KIND, str(path))
    sha256 = write_to(path)
    intent.made(str(path))
    return Artifact(
        driver="qemu",
        id=str(path),
        name=name,
        format=format,
        settings=settings,
        build=claim.build,
        created=datetime.now(UTC),
        **_looks(path, sha256),
    )


def _looks(path: Path, sha256: str) -> dict[str, Any]:
    info = path.stat()
    return {"size": info.st_size, "sha256": sha256, "data": {"mtime": info.st_mtime_ns}}


def with_disk(
    artifact: Artifact, disk: str, source: Mapping[str, Any], *, claim: Claim, compression: Compression = "zstd"
) -> Artifact:
    """Write a further disk of the machine beside an image, as a part of it.

    Args:
        artifact: the image, under its temporary name.
        disk: the disk's name, `disk2`.
        source, claim, compression: as for `write`.

    Raises:
        DriverError: qemu-img failed; with its words.
    """
    path = disk_path(artifact.path, disk)
    form: Format = "raw" if artifact.format == "raw" else "qcow2"
    qemuimg.convert(source, path, format=form, work=claim, compression=compression)
    looks = _looks(path, digest(path, "sha256", claim))
    told = {"name": disk, "size": looks["size"], "sha256": looks["sha256"], **looks["data"]}
    return replace(artifact, data={**artifact.data, DISKS: [*artifact.data.get(DISKS, ()), told]})


def disk_path(image: Path, disk: str) -> Path:
    """Return the file of an image's further disk: `web.disk2.qcow2` beside `web.qcow2`."""
    return image.with_name(f"{image.stem}.{disk}{image.suffix}")


def disks_of(artifact: Artifact) -> dict[str, Path]:
    """Return the files of an image's further disks, by their names; most have none."""
    return {str(disk["name"]): disk_path(artifact.path, disk["name"]) for disk in artifact.data.get(DISKS, ())}


def keep(artifact: Artifact, name: str) -> Artifact:
    """Give an image its final name. The old image of that name is there until the new one is in its place.

    Whoever runs a machine on the old image goes on doing so: its file lives until it is closed. Of an image with
    several disks the first is renamed last: whoever is killed in between leaves an old image that counts as changed.
    """
    path = artifact.path
    final = path.with_name(f"{name}.{artifact.format}")
    for disk, file in disks_of(artifact).items():
        flush(file)
        file.replace(disk_path(final, disk))
    flush(path)
    path.replace(final)
    flush(final.parent)
    return replace(artifact, id=str(final), name=name)


def delete(artifact: Artifact) -> None:
    """Delete an image with all its disks. What is not there is deleted."""
    for path in (*disks_of(artifact).values(), artifact.path):
        path.unlink(missing_ok=True)


def intact(artifact: Artifact) -> bool:
    """Say whether an image is there, unchanged; reads it only where its date says that it may not be."""
    first = {"size": artifact.size, "mtime": artifact.data.get("mtime"), "sha256": artifact.sha256}
    others = {disk_path(artifact.path, disk["name"]): disk for disk in artifact.data.get(DISKS, ())}
    return all(_is_as_noted(path, noted) for path, noted in {artifact.path: first, **others}.items())


def _is_as_noted(path: Path, noted: Mapping[str, Any]) -> bool:
    try:
        info = path.stat()
    except OSError:
        return False
    if info.st_size != int(noted["size"] or 0):
        return False
    if info.st_mtime_ns == int(noted["mtime"] or 0):
        return True
    return digest(path, "sha256", WorkContext(cache=Path())) == str(noted["sha256"])


def destroy(resource: Resource) -> None:
    """Destroy an image that was never kept, from its journal record. One that was kept has another name by now."""
    path = Path(resource.key)
    for file in (*path.parent.glob(f"{glob.escape(path.stem)}.*{glob.escape(path.suffix)}"), path):
        file.unlink(missing_ok=True)  # its own name has digits by chance: nobody else's begins like it
