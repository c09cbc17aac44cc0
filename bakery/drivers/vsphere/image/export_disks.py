"""A machine's files out of the inventory: downloaded under a lease, each checked against what vSphere says of it."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError, fault_of, translate_errors
from bakery.drivers.vsphere.image import lease as leases
from bakery.drivers.vsphere.image.lease import LeaseProgress
from bakery.errors import DriverError
from bakery.state.claim import Claim
from bakery.util.retry import retry
from bakery.util.sparse_files import disk_space

EXPORT: Final = "export"
PIECE: Final = 1 << 20
ATTEMPTS: Final = 4
"""How often a file is asked for: its address holds for as long as the lease."""
MEDIA: Final = (".iso", ".flp")
"""What is in drives, and no part of the machine."""
CHECKSUM: Final = "sha256"
TOO_OLD: Final = frozenset({"NotSupported", "MethodNotFound", "InvalidRequest"})
"""How a server refuses that chooses its checksums itself: SHA-1, until vSphere 6.7."""


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """One machine's export.

    Args:
        center: where.
        machine: pyvmomi's reference to it; it is off.
        name: how its files begin.
        folder: where they are written.
        claim: ends the transfer when cancelled, and is told how far it is.
    """

    center: VCenter
    machine: Any
    name: str
    folder: Path
    claim: Claim


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A file that was downloaded and checked.

    Args:
        key: what the lease calls it.
        path: where it is.
        size: bytes.
        sha256: hexadecimal.
        capacity: of the disk in it, in bytes; None where vSphere does not say, or where it is no disk.
        populated: bytes of the disk that are written to, in the same way.
    """

    key: str
    path: Path
    size: int
    sha256: str
    capacity: int | None = None
    populated: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Received:
    """What arrived: its bytes, and their digests by algorithm."""

    path: Path
    size: int
    digests: dict[str, str]


def export_disks(job: ExportJob) -> list[ExportedFile]:
    """Download a machine's disks, and what else belongs to it.

    Raises:
        VSphereError: refused, or what arrived is not what vSphere says that it sent.
    """
    center, claim = job.center, job.claim
    lease = center.call("export the machine", job.machine.ExportVm, repeat=False)
    with leases.finished_or_aborted(center, lease, EXPORT):
        info = leases.ready(center, lease, EXPORT, claim)
        targets = [target for target in info.deviceUrl or () if not str(target.targetId or "").endswith(MEDIA)]
        if not any(target.disk for target in targets):
            raise DriverError("vSphere gives no disk of the machine", why="its lease names no address for one")
        _choose_checksum(center, lease, targets)
        with leases.kept_alive(center, lease, EXPORT, _total(info, targets)) as progress, disk_space(job.folder):
            received = {
                str(target.key): _download(job, target, path, progress) for target, path in _named(job, targets)
            }
        manifest = center.call("tell the export's digests", lease.HttpNfcLeaseGetManifest)
        return list(_checked(received, manifest or ()))


def _total(info: Any, targets: Iterable[Any]) -> int:
    """Return how many bytes will come, as far as it is known: of disks at most what they hold."""
    return sum(int(target.fileSize or 0) for target in targets) or int(info.totalDiskCapacityInKB or 0) << 10


def _choose_checksum(center: VCenter, lease: Any, targets: Iterable[Any]) -> None:
    """Ask for SHA-256 in place of SHA-1, where the server lets us choose."""
    vim = types.vim()
    wanted = [vim.KeyValue(key=str(target.key), value=CHECKSUM) for target in targets]
    try:
        center.call(
            "choose the export's digests",
            lambda: lease.HttpNfcLeaseSetManifestChecksumType(deviceUrlsToChecksumTypes=wanted),
        )
    except VSphereError as error:
        if fault_of(error) not in TOO_OLD:
            raise


def _named(job: ExportJob, targets: Iterable[Any]) -> Iterator[tuple[Any, Path]]:
    """Yield each file with the name that it gets: `web-disk1.vmdk`, `web-1.nvram`."""
    disks = others = 0
    for target in targets:
        if target.disk:
            disks += 1
            yield target, job.folder / f"{job.name}-disk{disks}.vmdk"
        else:
            others += 1
            suffix = Path(str(target.targetId or "")).suffix or ".bin"
            yield target, job.folder / f"{job.name}-{others}{suffix}"


def _download(job: ExportJob, target: Any, path: Path, progress: LeaseProgress) -> _Received:
    """Download one file; from its beginning again where the connection breaks."""
    before = progress.done

    def attempt() -> _Received:
        progress.done = before
        return _received(job, target, path, progress)

    def say(_: int, error: BaseException) -> None:
        job.claim.notice(f"{path.name} is downloaded again: {getattr(error, 'why', error)}", warning=True)

    return retry(attempt, job.claim.cancel, on=VSphereRetryableError, attempts=ATTEMPTS, first=0.3, say=say)


def _received(job: ExportJob, target: Any, path: Path, progress: LeaseProgress) -> _Received:
    what = f"send {path.name}"
    with translate_errors(what):
        connection, address = leases.open_address(job.center, target)
    try:
        with translate_errors(what):
            connection.request("GET", address)
            answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            kind = VSphereRetryableError if answer.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR else VSphereError
            raise kind(f"vSphere did not {what}", why=f"{answer.status} {answer.reason}")
        return _written(job, answer, path, progress)
    finally:
        connection.close()


def _pieces(answer: http.client.HTTPResponse, what: str) -> Iterator[bytes]:
    """Yield what arrives; only what goes wrong on the way is vSphere's."""
    while True:
        with translate_errors(what):
            piece = answer.read(PIECE)
        if not piece:
            return
        yield piece


def _written(job: ExportJob, answer: http.client.HTTPResponse, path: Path, progress: LeaseProgress) -> _Received:
    announced = answer.getheader("Content-Length")
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in (CHECKSUM, "sha1")}
    size = 0
    with path.open("wb") as file:
        for piece in _pieces(answer, f"send {path.name}"):
            job.claim.cancel.check()
            file.write(piece)
            for one in hashes.values():
                one.update(piece)
            size += len(piece)
            progress.done += len(piece)
            job.claim.progress("download", progress.done, progress.total)
    if announced is not None and int(announced) != size:  # http.client says nothing of a body that ends early
        raise VSphereRetryableError(
            f"vSphere did not send all of {path.name}", why=f"{size} of {announced} bytes arrived"
        )
    return _Received(path=path, size=size, digests={name: one.hexdigest() for name, one in hashes.items()})


def _checked(received: dict[str, _Received], manifest: Iterable[Any]) -> Iterator[ExportedFile]:
    """Compare what arrived with the lease's manifest.

    Raises:
        VSphereError: they differ, or the manifest says nothing of a file.
    """
    entries = {str(entry.key): entry for entry in manifest}
    for key, file in received.items():
        entry = entries.get(key)
        if entry is None:
            raise VSphereError(f"vSphere says nothing of the digest of {file.path.name}", why=f"of {key}")
        algorithm = str(entry.checksumType or CHECKSUM).lower().replace("-", "") if entry.checksum else "sha1"
        told = str(entry.checksum or entry.sha1 or "").lower()
        if algorithm not in file.digests:
            raise VSphereError(f"the digest of {file.path.name} cannot be checked", why=f"vSphere tells {algorithm}")
        if file.size != int(entry.size) or told != file.digests[algorithm]:
            raise VSphereError(
                f"{file.path.name} is not what vSphere sent",
                why=f"{file.size} bytes with {algorithm} {file.digests[algorithm]} arrived, "
                f"vSphere says {entry.size} with {told}",
                hint="something between changes what is transferred: bake again, from another host if it stays so",
            )
        yield ExportedFile(
            key=key,
            path=file.path,
            size=file.size,
            sha256=file.digests[CHECKSUM],
            capacity=None if entry.capacity is None else int(entry.capacity),
            populated=None if entry.populatedSize is None else int(entry.populatedSize),
        )
