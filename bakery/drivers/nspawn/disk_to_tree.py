"""A disk as a tree of files, so that a container can stand on an image: its file systems are copied out once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bakery.disk.bases import owners
from bakery.disk.bases.base import BaseDisk, BaseTree
from bakery.disk.build import remove
from bakery.disk.inspect.tree import fstab, means
from bakery.disk.inspect.volumes import DiskVolume, raw_disk, volumes
from bakery.drivers.nspawn.apply_layer import tell_lost
from bakery.errors import DriverError
from bakery.model import Problem
from bakery.util import inode_flags
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.lock import hold
from bakery.util.tools import alone, missing, root, run

KINDS = {"ext2": "noload", "ext3": "noload", "ext4": "noload", "xfs": "norecovery,nouuid"}
"""File systems that are read, and the options by which one that nobody may write to is mounted."""
FSTAB = "etc/fstab"
READY = "ready.json"
SHORTEST = 16
"""Letters and dashes that lsattr(1) writes for a file, at least."""
COPY = """\
set -eu
to=$1 point=$2
shift 2
while [ $# -gt 0 ]; do
    mount -t "$1" -o "$2" "$3" "$point$4"
    shift 4
done
cp --archive --reflink=auto "$point/." "$to"
cd "$point"
find . \\( -type f -o -type d \\) -exec lsattr -d -- {} + 2>/dev/null || true
"""
LOOK = 'set -eu; mount -t "$1" -o "$2" "$3" "$4"; test -d "$4/etc"; test -d "$4/usr"; cat "$4/etc/fstab" || true'


def check() -> Iterator[Problem]:
    """Yield what keeps a disk from being read here."""
    if root():
        yield Problem(
            what="only root can build in a container on an image",
            why="the image's file systems must be mounted, with all their owners, links and capabilities",
            hint="run bake as root, use Qemu for this image, or stand on Debian(...)",
        )
    yield from missing({"qemu-img": "qemu-utils", "sfdisk": "fdisk", "blkid": "util-linux", "setpriv": "util-linux"})


def tree(disk: BaseDisk, work: WorkContext) -> BaseTree:
    """Make the tree or find it in the cache.

    Args:
        disk: the disk; its key says what is in it.
        work: where the cache is.

    Raises:
        DriverError: we are not root, or there is no root file system in it that this kernel reads.
    """
    for problem in check():
        raise DriverError(problem.what, why=problem.why, hint=problem.hint)
    folder = work.cache / "bases" / f"image-{hashlib.sha256(disk.key.encode()).hexdigest()[:32]}"
    with hold(folder / "lock", what=f"another bake is unpacking {disk.path.name}", work=work):
        if not _sound(folder, disk, work):
            _make(disk, folder, work)
        tell_lost(json.loads((folder / READY).read_text()).get("lost", ()), work)
    return BaseTree(path=folder / "tree", key=disk.key, login=disk.login)


def _sound(folder: Path, disk: BaseDisk, work: WorkContext) -> bool:
    """Say whether the files are there, and as they were copied."""
    if not (folder / READY).exists():
        return False
    try:
        noted = json.loads((folder / READY).read_text()).get("owners")  # bakery 0.1 wrote none at first
    except ValueError:
        noted = ""
    if noted is None or noted == owners.witness(folder / "tree"):
        return True
    work.notice(f"the files of {disk.path.name} in the cache were changed; they are copied anew", warning=True)
    return False


def _make(disk: BaseDisk, folder: Path, work: WorkContext) -> None:
    work.waiting(f"unpacking {disk.path.name}")
    files, point = folder / "tree", folder / "point"
    remove(files, work)  # of a process that was killed: nobody else is here while we hold the lock
    files.mkdir()
    point.mkdir(exist_ok=True)
    try:
        with raw_disk(disk.path, disk.format, folder, work) as raw:
            mounts = _mounts(raw, point, work)
            words = [word for volume, place in mounts for word in (*_mount(raw, volume), place)]
            listing = run(
                (*alone(), "sh", "-c", COPY, "sh", files, point, *words),
                work,
                timeout=3600,
                what=f"copying the files of {disk.path.name}",
            )
            _forget_disk(files, [volume for volume, _ in mounts[1:]], volumes(raw, work))
    except BaseException:
        remove(files, work)
        raise
    point.rmdir()
    noted = {"key": disk.key, "owners": owners.witness(files), "lost": flagged(listing.decode(errors="replace"))}
    write_whole(folder / READY, json.dumps(noted))


def flagged(listing: str) -> list[str]:
    """Return the files with attributes of chattr(1), as `i /etc/motd`: cp does not copy these.

    Args:
        listing: lsattr(1)'s, with paths that begin with `./`.
    """
    found: list[str] = []
    for line in listing.splitlines():
        shown, _, path = line.partition(" ")
        letters = "".join(letter for letter in shown if letter in inode_flags.LETTERS)
        if letters and len(shown) >= SHORTEST and path.startswith("."):
            found.append(f"{letters} {path.removeprefix('.') or '/'}")
    return sorted(found)


def _mount(raw: Path, volume: DiskVolume) -> tuple[str, str, str]:
    """Type, options and file, for mount(8): the loop device goes with the mount, and that with its namespace."""
    options = f"ro,loop,offset={volume.start},sizelimit={volume.size},{KINDS[volume.kind]}"
    return volume.kind, options, str(raw)


def _mounts(raw: Path, point: Path, work: WorkContext) -> list[tuple[DiskVolume, str]]:
    """Return the root file system, and those that its fstab puts into it, each with its place; outer ones first."""
    found = [volume for volume in volumes(raw, work) if volume.kind in KINDS]
    for volume in sorted(found, key=lambda each: each.size, reverse=True):
        try:
            said = run((*alone(), "sh", "-c", LOOK, "sh", *_mount(raw, volume), point), work, what="looking for files")
        except DriverError:
            continue  # another one may be the root; if none is, that is said below
        inside = [
            (other, place)
            for spec, place in fstab(said.decode(errors="replace"))
            for other in found
            if other is not volume and place != "/" and means(spec, other)
        ]
        return [(volume, ""), *sorted(inside, key=lambda each: each[1])]
    kinds = ", ".join(sorted({volume.kind or "unknown" for volume in volumes(raw, work)}))
    raise DriverError(
        f"{raw.name} has no root file system that can be read here",
        why=f"there are: {kinds}; read are: {', '.join(KINDS)}, where this kernel has them",
        hint="build on this image with Qemu",
    )


def _forget_disk(files: Path, copied: Sequence[DiskVolume], all_volumes: Sequence[DiskVolume]) -> None:
    """Take the old disk's other partitions out of fstab: the new disk has none of them, and would wait for them."""
    table = files / FSTAB
    if not table.is_file():
        return
    gone = [*copied, *(volume for volume in all_volumes if volume.kind not in KINDS)]
    text = table.read_text()
    kept = [line for line in text.splitlines() if not _about(line, gone)]
    if len(kept) < len(text.splitlines()):
        table.write_text("\n".join((*kept, "")))


def _about(line: str, gone: Sequence[DiskVolume]) -> bool:
    spec = (line.split() or [""])[0]
    return any(means(spec, volume) for volume in gone)
