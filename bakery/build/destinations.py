"""Where a user tells us to write: looked at before anything starts, so that nothing that is wanted is written over."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bakery.build.makefile import is_rule
from bakery.build.manifest import MARK
from bakery.disk.signatures import is_disk_image
from bakery.errors import UsageError

SUFFIXES: Final[Mapping[str, frozenset[str]]] = {
    "qcow2": frozenset({".qcow2", ".img"}),
    "raw": frozenset({".raw", ".img"}),
    "ova": frozenset({".ova"}),
}
"""Formats of image files, and what their names may end with; `.img` says of itself nothing but that it is a disk."""
_DROPPED: Final = frozenset(
    {".vmdk", ".vdi", ".vhd", ".vhdx", ".qcow", ".iso", ".ova", ".tmp", ".part", ".new", ".py", ".txt", ".gz"}
)
"""What a name that would do leaves out; `.4` of `web-1.4` belongs to the name."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_LARGEST_DEPFILE: Final = 64 << 20
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a named pipe"),
)
_KERNELS: Final = tuple(Path(name) for name in ("/dev", "/proc", "/sys"))
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  no device, but a file system for everybody


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A file that the user names for us to write.

    Args:
        option: how it was named: `-o`.
        given: as the user wrote it.
        path: absolute.
        ours: says whether an existing file may be replaced: it is of the kind that we write there.
        kind: what we write there, as a sentence says it: `a disk image`.
        example: a name that would do.
    """

    option: str
    given: str
    path: Path
    ours: Callable[[Path], bool]
    kind: str
    example: str

    def check(self, kept: Iterable[Path]) -> None:
        """Refuse what is no place for such a file.

        Args:
            kept: folders that are bakery's own.

        Raises:
            UsageError: with what to write instead.
        """
        try:
            self._check_place(kept)
            self._check_existing()
            self._check_parent()
        except OSError as error:
            raise self._refusal(f"cannot be looked at: {error.strerror or error}") from None

    def _check_existing(self) -> None:
        try:
            mode = self.path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            if self.path.is_symlink():
                raise self._refusal(
                    f"is a link to {self.path.readlink()}, which does not exist",
                    f"delete the link, or name the file itself: {self.option} {os.path.realpath(self.path)}",
                ) from None
            return
        if kind := next((kind for is_kind, kind in _KINDS if is_kind(mode)), ""):
            inside = Path(self.given, self.example) if stat.S_ISDIR(mode) else self.example
            raise self._refusal(f"is {kind}", f"name a file: {self.option} {inside}")
        if not self.ours(self.path):
            raise self._refusal(
                f"exists and is not {self.kind}", f"name another file ({self.option} {self.example}), or delete it"
            )

    def _check_place(self, kept: Iterable[Path]) -> None:
        if self.given.endswith(os.sep):
            raise self._refusal("is a folder", f"name a file in it: {self.option} {Path(self.given, self.example)}")
        real = Path(os.path.realpath(self.path))
        for path in (self.path, real):
            if any(path.is_relative_to(folder) for folder in _KERNELS) and not path.is_relative_to(_MEMORY):
                raise self._refusal("is no place for a file")
        for folder in (
            *kept,
            *(parent for parent in real.parents if parent.name == ".bakery"),
        ):  # also another project's
            if real.is_relative_to(os.path.realpath(folder)):
                raise self._refusal(f"lies in {folder}, where bakery keeps its own files")

    def _check_parent(self) -> None:
        """See that the file can be made; folders on the way to it are made as well."""
        real = Path(os.path.realpath(self.path))
        folder = next((folder for folder in real.parents if folder.exists()), Path("/"))
        if not folder.is_dir():
            raise self._refusal(f"cannot be made: {folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise self._refusal(f"cannot be made: {folder} cannot be written to")

    def _refusal(self, why: str, hint: str = "") -> UsageError:
        return UsageError(
            f"{self.option} {self.given}: it {why}",
            hint=hint or f"name a file elsewhere: {self.option} {self.example}",
        )


def image_file(given: str, path: Path) -> Destination:
    """Return the place of `-o`.

    Args:
        given: as the user wrote it.
        path: absolute.
    """
    return Destination(
        option="-o", given=given, path=path, ours=is_disk_image, kind="a disk image", example="web.qcow2"
    )


def picture_file(given: str, path: Path) -> Destination:
    """Return the place of a picture of a screen."""
    return Destination(option="-o", given=given, path=path, ours=_is_png, kind="a PNG picture", example="screen.png")


def dependency_file(given: str, path: Path) -> Destination:
    """Return the place of `--depfile`."""
    return Destination(
        option="--depfile", given=given, path=path, ours=_is_depfile, kind="a list of dependencies", example="web.d"
    )


def junit_file(given: str, path: Path) -> Destination:
    """Return the place of `--junit`."""
    return Destination(
        option="--junit", given=given, path=path, ours=_is_junit, kind="a JUnit report", example="junit.xml"
    )


def manifest_file(given: str, path: Path) -> Destination:
    """Return the place of `--manifest`."""
    return Destination(
        option="--manifest", given=given, path=path, ours=_is_manifest, kind="a manifest", example="manifest.json"
    )


def check_all(destinations: Iterable[Destination], kept: Iterable[Path]) -> None:
    """Look at all places that one command line names.

    Raises:
        UsageError: one does not do, or two are the same file.
    """
    folders = [*kept]
    seen: dict[str, Destination] = {}
    for place in destinations:
        place.check(folders)
        other = seen.setdefault(os.path.realpath(place.path), place)
        if other is not place:
            raise UsageError(
                f"{other.option} and {place.option} name the same file: {place.given}",
                hint=f"for example {other.option} {other.example} {place.option} {place.example}",
            )


def check_suffix(given: str, image_format: str, image: str) -> None:
    """Refuse a name that says another format than the image has, or none.

    Args:
        given: as the user wrote it.
        image_format: the image's.
        image: the image's name, for an example.

    Raises:
        UsageError: with a name that would do.
    """
    if image_format not in SUFFIXES:
        raise UsageError(
            f"-o {given}: {image} is no file on this host (its format is {image_format})",
            hint="leave out -o: its id is printed, and a post step can write it down",
        )
    suffix = Path(given).suffix.lower()
    if suffix in SUFFIXES[image_format]:
        return
    known = next((name for name, suffixes in SUFFIXES.items() if suffix in suffixes), "")
    says = f"says {known}" if known else f"ends with {suffix}" if suffix else "does not say so"
    stem = Path(given).with_suffix("") if known or suffix in _DROPPED else Path(given)
    fit = str(stem) if stem.suffix.lower() in SUFFIXES[image_format] else f"{stem}.{image_format}"
    hint = f"write -o {fit}"
    if known in ("qcow2", "raw") and image_format in ("qcow2", "raw"):
        hint += f', or format="{known}" in the source'
    raise UsageError(f"-o {given}: the image is {image_format}, and the name {says}", hint=hint)


def _is_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_PNG)) in (b"", _PNG)


def _is_depfile(path: Path) -> bool:
    if path.stat().st_size > _LARGEST_DEPFILE:
        return False
    return is_rule(path.read_text(encoding="utf-8", errors="surrogateescape"))


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    return not head or f'"type": "{MARK}"'.encode() in head


def _is_junit(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    return not head or (head.lstrip().startswith(b"<") and b"<testsuite" in head)
