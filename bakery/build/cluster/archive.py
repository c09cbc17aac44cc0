"""The project's folder as one file, named by its content: packed where `bake` runs, unpacked where a build runs."""

from __future__ import annotations

import fnmatch
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bakery.errors import PreflightError, UsageError
from bakery.util.context import WorkContext
from bakery.util.sparse_files import digest
from bakery.util.units import format_size

LEFT_OUT: Final = frozenset({".bakery", ".git", ".hg", ".svn", "__pycache__"})
IGNORE: Final = ".bakeryignore"
"""A file beside the imagefile with patterns of what stays here, one a line."""
MOST: Final = 1 << 30
"""Bytes that a project may have; more is a folder that nobody meant to send."""
LARGEST: Final = 3
"""How many files an error names."""


@dataclass(frozen=True)
class PackedProject:
    """A packed project.

    Args:
        path: the file.
        digest: its SHA-256.
        size: its bytes.
    """

    path: Path
    digest: str
    size: int


def pack(folder: Path, to: Path, *, without: Collection[Path] = ()) -> PackedProject:
    """Pack the imagefile's folder: the same content gives the same digest.

    Args:
        folder: the imagefile's.
        to: the file to write.
        without: files that must stay here, such as those with secrets, and folders of ours.

    Raises:
        UsageError: it is too large.
    """
    files = list(_files(folder, {path.resolve() for path in without}))
    sizes = {path: path.lstat().st_size for path in files}
    if sum(sizes.values()) > MOST:
        largest = sorted(files, key=lambda path: -sizes[path])[:LARGEST]
        raise UsageError(
            f"the project's folder is too large to send: {format_size(sum(sizes.values()))} in {folder}",
            why="\n".join(f"{format_size(sizes[path])} {path.relative_to(folder)}" for path in largest),
            hint=f"name what no build needs in {IGNORE}, a pattern a line",
        )
    with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in files:
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_anonymous)
    return PackedProject(to, digest(to, "sha256", WorkContext(cache=to.parent)), to.stat().st_size)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owns a file: it is unpacked by somebody else."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    return member


def _files(folder: Path, without: set[Path]) -> Iterator[Path]:
    """Yield what travels, in a fixed order: folders too, since a build may copy one that is empty."""
    patterns = _patterns(folder / IGNORE)

    def stays(path: Path) -> bool:
        name = str(path.relative_to(folder))
        return (
            path.name in LEFT_OUT
            or path.resolve() in without
            or (path / "pyvenv.cfg").exists()
            or any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
        )

    yield from _below(folder, stays)


def _below(folder: Path, stays: Callable[[Path], bool]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if stays(path):
            continue
        if path.is_symlink() or path.is_file():
            yield path
        elif path.is_dir():
            yield path
            yield from _below(path, stays)


def _patterns(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith("#")]


def unpack(archive: Path, to: Path) -> None:
    """Unpack a project, whole or not at all; nothing where it is there.

    Raises:
        PreflightError: a link in it leads out of the project.
    """
    if to.exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = Path(tempfile.mkdtemp(prefix=".", dir=to.parent))  # several builds may need it at the same time
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        _put(scratch, to)
    except tarfile.FilterError as error:
        raise PreflightError(
            f"the project cannot be unpacked on another machine: {error}",
            hint="a link that leads out of the imagefile's folder leads nowhere there: put the file in its place",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(scratch: Path, to: Path) -> None:
    """Give an unpacked project its name, where no other build has done so meanwhile."""
    try:
        scratch.rename(to)
    except OSError:
        if not to.is_dir():
            raise
