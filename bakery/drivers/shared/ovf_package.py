"""An OVF with its files, or an OVA: read, compared with its manifest, and handed on piece by piece (DMTF's DSP0243)."""

from __future__ import annotations

import hashlib
import re
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Final
from xml.etree import ElementTree as ET

from bakery.errors import PreflightError
from bakery.util.context import WorkContext
from bakery.util.sparse_files import TICK, disk_space

PIECE: Final = 1 << 20
GZIP: Final = 31
"""zlib's `wbits` for gzip's header and checksum."""
LARGEST_TEXT: Final = 16 << 20
"""Bytes of a descriptor or a manifest; the largest that people make have a few hundred thousand."""
ENTRY = re.compile(r"\s*(?P<algorithm>SHA(?:1|256|384|512))\s*\((?P<name>.+?)\)\s*=\s*(?P<digest>[0-9A-Fa-f]+)\s*")
"""A line of a manifest. SHA-1 is what OVF 1 has: against accidents, which is what a manifest is for."""


@dataclass(frozen=True)
class ByteRange:
    """A part of a file.

    Args:
        path: the file.
        offset: where it begins, in bytes.
        size: how long it is, in bytes.
    """

    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class PackageFile:
    """A file of a package: one on this host, a part of an OVA, or several chunks.

    Args:
        name: as the OVF has it.
        spans: where its bytes are, in order.
    """

    name: str
    spans: tuple[ByteRange, ...]

    @property
    def size(self) -> int:
        """How long it is, in bytes."""
        return sum(span.size for span in self.spans)

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes.

        Raises:
            PreflightError: it was cut off since it was looked at.
        """
        for span in self.spans:
            with span.path.open("rb") as file:
                file.seek(span.offset)
                left = span.size
                while left:
                    piece = file.read(min(PIECE, left))
                    if not piece:
                        raise PreflightError(f"{span.path.name} was cut off while it was read")
                    left -= len(piece)
                    yield piece


@dataclass(frozen=True, kw_only=True)
class OvfPackage:
    """What is in a package.

    Args:
        path: the OVA or OVF.
        descriptor: the OVF's text.
        root: the OVF's first element.
        files: its other files, by the names that the OVF has for them.
        manifest: algorithm and digest of files, by name; empty where there is no manifest.
    """

    path: Path
    descriptor: str
    root: ET.Element
    files: Mapping[str, PackageFile]
    manifest: Mapping[str, tuple[str, str]]

    @property
    def name(self) -> str:
        """The package's file name, for messages."""
        return self.path.name


def open_package(path: Path) -> OvfPackage:
    """Read what is in a package; digests are compared by `verify`.

    Args:
        path: an OVA or OVF.

    Raises:
        PreflightError: it is none, a file that it names is not there, or its manifest names one that is not.
    """
    there = _of_ova(path) if path.suffix == ".ova" else _of_folder(path)
    name = next((name for name in there if name.endswith(".ovf")), "")
    if not name:
        raise PreflightError(f"the appliance {path.name} holds no OVF", why=f"it holds {_listed(there)}")
    descriptor = _text(path, there[name])
    root = _parsed(path, descriptor)
    files = {file.name: file for file in _named_files(path, root, there)}
    stem = name.removesuffix(".ovf")
    manifest = _manifest(path, _text(path, there[f"{stem}.mf"])) if f"{stem}.mf" in there else {}
    if missing := [one for one in manifest if one not in files and _span(one, path, there) is None]:
        raise PreflightError(
            f"the appliance {path.name} is not whole: {', '.join(missing)} is missing",
            why="its manifest names it",
        )
    return OvfPackage(path=path, descriptor=descriptor, root=root, files=files, manifest=manifest)


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _of_ova(path: Path) -> dict[str, ByteRange]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = {one.name: ByteRange(path, one.offset_data, one.size) for one in archive if one.isreg()}
    except (OSError, tarfile.TarError) as error:
        raise PreflightError(f"the appliance {path.name} cannot be read", why=str(error)) from error
    end = path.stat().st_size
    for name, span in members.items():
        if span.offset + span.size > end:
            raise PreflightError(f"the appliance {path.name} is cut off", why=f"in the middle of {name}")
    return members


def _of_folder(path: Path) -> dict[str, ByteRange]:
    """Return an OVF's own files; what it names is looked for by name."""
    own = [path, path.with_suffix(".mf")]
    return {file.name: ByteRange(file, 0, file.stat().st_size) for file in own if file.is_file()}


def _text(path: Path, span: ByteRange) -> str:
    if span.size > LARGEST_TEXT:
        raise PreflightError(f"the appliance {path.name} cannot be read", why=f"its description has {span.size} bytes")
    return b"".join(PackageFile("", (span,)).pieces()).decode(errors="replace").removeprefix("\ufeff")


def _parsed(path: Path, text: str) -> ET.Element:
    try:
        root = ET.fromstring(text)  # noqa: S314  expat ends at bombs, and the hypervisor reads it next
    except ET.ParseError as error:
        raise PreflightError(f"the appliance {path.name} cannot be read", why=f"its OVF is no XML: {error}") from error
    if not root.tag.endswith("}Envelope"):
        raise PreflightError(f"the appliance {path.name} holds no OVF", why=f"its root element is {root.tag}")
    return root


def attribute(element: ET.Element, name: str) -> str:
    """Return an attribute of an element, whichever version of OVF its namespace is; empty where it has none."""
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def _named_files(path: Path, root: ET.Element, there: Mapping[str, ByteRange]) -> Iterator[PackageFile]:
    for element in root.iterfind("{*}References/{*}File"):
        name = attribute(element, "href")
        if "://" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise PreflightError(
                f"the appliance {path.name} names a file outside of itself: {name}",
                hint="download it, and put it beside the OVF",
            )
        names = _chunks(name, path, there) if attribute(element, "chunkSize") else [name]
        spans = tuple(span for one in names if (span := _span(one, path, there)) is not None)
        if not spans:
            raise PreflightError(
                f"the appliance {path.name} is not whole: {name} is missing",
                why=f"an OVF is several files, which belong together in {path.parent}"
                if path.suffix == ".ovf"
                else f"it holds {_listed(there)}",
            )
        yield PackageFile(name, spans)


def _chunks(name: str, path: Path, there: Mapping[str, ByteRange]) -> list[str]:
    """Return the names of the chunks that there are: `NAME.000000000` and so on, up to the first that is not there."""
    names: list[str] = []
    for number in count():
        chunk = f"{name}.{number:09}"
        if _span(chunk, path, there) is None:
            return names
        names.append(chunk)
    return names


def _span(name: str, path: Path, there: Mapping[str, ByteRange]) -> ByteRange | None:
    if path.suffix == ".ova":
        return there.get(name)
    file = path.parent / name
    return ByteRange(file, 0, file.stat().st_size) if file.is_file() else None


def _manifest(path: Path, text: str) -> dict[str, tuple[str, str]]:
    entries: dict[str, tuple[str, str]] = {}
    for line in filter(str.strip, text.splitlines()):
        match = ENTRY.fullmatch(line)
        algorithm = match["algorithm"].lower() if match else ""
        if match is None or len(match["digest"]) != 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size:
            raise PreflightError(
                f"the manifest of the appliance {path.name} cannot be read", why=f"what is {line.strip()[:80]!r}?"
            )
        entries[match["name"]] = (algorithm, match["digest"].lower())
    return entries


def verify(package: OvfPackage, work: WorkContext) -> None:
    """Compare all that a package's manifest names with its digests.

    Args:
        package: with or without a manifest.
        work: can cancel it, and is told how far it is.

    Raises:
        PreflightError: a file is another one than the manifest means.
    """
    total = sum(file.size for file in package.files.values())
    done, last = 0, time.monotonic()
    for name, (algorithm, wanted) in package.manifest.items():
        summing = hashlib.new(algorithm, usedforsecurity=False)
        for piece in _pieces_of(package, name):
            work.cancel.check()
            summing.update(piece)
            done += len(piece)
            if time.monotonic() - last > TICK:
                last = time.monotonic()
                work.progress(f"checking {package.name}", done, total)
        if summing.hexdigest() != wanted:
            raise PreflightError(
                f"the appliance {package.name} is damaged: {name} is not what its manifest says",
                why=f"{algorithm} {summing.hexdigest()} in place of {wanted}",
                hint="get it once more; without its manifest nobody would have noticed",
            )


def unpacked(file: PackageFile, compression: str, to: Path, work: WorkContext) -> PackageFile:
    """Return a file of a package as a hypervisor takes it: unpacked where its OVF says that it is packed.

    Args:
        file: of the package.
        compression: what the OVF says of it.
        to: where it is unpacked to.
        work: can cancel it.

    Raises:
        PreflightError: it is damaged, or packed in a way that nobody here can unpack.
    """
    if compression in {"", "identity"}:
        return file
    if compression != "gzip":
        raise PreflightError(f"{file.name} cannot be unpacked", why=f"its OVF says that it is packed by {compression}")
    try:
        with disk_space(to.parent), to.open("wb") as out:
            for piece in _gunzip(file.pieces()):
                work.cancel.check()
                out.write(piece)
    except zlib.error as error:
        raise PreflightError(f"{file.name} cannot be unpacked", why=str(error)) from error
    return PackageFile(file.name, (ByteRange(to, 0, to.stat().st_size),))


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack a stream, which may be several packed ones in a row."""
    machine = zlib.decompressobj(GZIP)
    for piece in pieces:
        rest = piece
        while rest:
            if machine.eof:
                machine = zlib.decompressobj(GZIP)
            yield machine.decompress(rest)
            rest = machine.unused_data
    if not machine.eof:
        raise zlib.error("it ends in the middle")


def _pieces_of(package: OvfPackage, name: str) -> Iterator[bytes]:
    if name in package.files:
        return package.files[name].pieces()
    there = _of_ova(package.path) if package.path.suffix == ".ova" else {}
    span = _span(name, package.path, there)
    return PackageFile(name, (span,) if span is not None else ()).pieces()
