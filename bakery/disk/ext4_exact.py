"""What `mke2fs -d` does not keep, put right in the finished file system with debugfs: no mount, no loop device."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bakery.disk.inspect.ext4_reader import Ext4
from bakery.disk.inspect.volumes import DiskVolume
from bakery.disk.tree_survey import MADE, SECOND, Survey
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.tools import root, run

BLOCK = 4096
SHOWN = 10


def survey(tree: Path, work: WorkContext) -> Survey:
    """Look at a tree, as root in a user namespace where we are not root: it has files that we cannot read.

    Raises:
        DriverError: the tree cannot be read.
    """
    words: tuple[str | Path, ...] = (*root(), sys.executable, "-m", "bakery.disk.tree_survey", tree)
    path = str(Path(__file__).parents[2])
    return Survey.from_json(run(words, work, what="looking at the files", env={"PYTHONPATH": path}))


def repair(
    disk: Path, start: int, repairs: Survey, *, flags: Mapping[str, int], folder: Path, work: WorkContext
) -> None:
    """Give files back what mke2fs took: blocks of zeros, dates, links of symbolic links, chattr(1)'s attributes.

    The root folder gets its mode and owner, too: mke2fs makes one of root with mode 0755.

    Args:
        disk: the disk.
        start: where in it the file system begins, in bytes.
        repairs: what is to be put right.
        flags: path to attributes, as in `bakery.util.inode_flags`.
        folder: for scratch files.
        work: can cancel it; is told of what cannot be put right.

    Raises:
        DriverError: debugfs fails; mostly because the disk is too small for files without holes.
    """
    system = Ext4(disk, DiskVolume(number=1, start=start, size=0, kind="ext4"), work.cancel)
    inodes = {entry.path: entry.inode for entry in system.walk("/")} | {"/": system.top().inode}
    wanted = {path for path, *_ in (*repairs.full, *repairs.times)} | {*flags}.union(*repairs.links)
    missing = sorted(
        (wanted - inodes.keys()) | {name for names in repairs.links for name in names if not _can_say(name)}
    )
    flagged = [path for path in flags if path in inodes]
    known_flags = dict(zip(flagged, system.flags([inodes[path] for path in flagged]), strict=True))
    script = [
        *_top(repairs.top, inodes["/"]),
        *_links(repairs.links, inodes),
        *_full(repairs.full, inodes),
        *_times(repairs.times, inodes),
        *(f"sif <{inodes[path]}> flags {known_flags[path] | flags[path]:#x}" for path in known_flags),
    ]
    _run(script, f"{disk}?offset={start}", folder, work)
    if missing:
        more = f", and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        names = ", ".join(ascii(name) for name in missing[:SHOWN])
        work.notice(
            f"holes, dates, links or attributes differ in the image: {names}{more}",
            warning=True,
            hint="their names have letters that debugfs cannot be told",
        )


def _top(top: tuple[int, int, int], inode: int) -> Iterator[str]:
    """Yield what gives the root folder its mode, owner and group."""
    if top != MADE:
        yield from (f"sif <{inode}> {name} {value:#x}" for name, value in zip(("mode", "uid", "gid"), top, strict=True))


def _links(groups: Iterable[list[str]], inodes: Mapping[str, int]) -> Iterator[str]:
    """One symbolic link of all names: the inodes of all but the first go."""
    for names in groups:
        known = [name for name in names if name in inodes]
        if not known:
            continue
        first, others = known[0], [name for name in known[1:] if _can_say(name)]
        for name in others:
            yield f'rm "{name}"'
            yield f'ln <{inodes[first]}> "{name}"'
        yield f"sif <{inodes[first]}> links_count {1 + len(others)}"


def _can_say(name: str) -> bool:
    """Say whether debugfs can be told of a name: it knows quotes, but no quote inside of them."""
    return not set('"\\\n') & set(name)


def _full(files: Iterable[tuple[str, int]], inodes: Mapping[str, int]) -> Iterator[str]:
    """Reserve the blocks that are holes: they read as zeros, as they did."""
    for path, size in files:
        if path in inodes:
            yield f"fallocate <{inodes[path]}> 0 {-(-size // BLOCK) - 1}"


def _times(times: Iterable[tuple[str, int, int]], inodes: Mapping[str, int]) -> Iterator[str]:
    """Write nanoseconds, and the two bits that carry seconds beyond 2038 (ext4's `i_mtime_extra`)."""
    for path, accessed, changed in times:
        if path not in inodes:
            continue
        for name, moment in (("atime", accessed), ("mtime", changed)):
            seconds, rest = divmod(moment, SECOND)
            low = seconds & 0xFFFFFFFF
            signed = low - (1 << 32) if low >> 31 else low
            epoch = (seconds - signed) >> 32 & 3
            yield f"sif <{inodes[path]}> {name} @{low}"
            yield f"sif <{inodes[path]}> {name}_extra {rest << 2 | epoch}"


def _run(script: list[str], device: str, folder: Path, work: WorkContext) -> None:
    if not script:
        return
    commands, said = folder / "exact", list[str]()
    commands.write_text("\n".join((*script, "")))
    run(("debugfs", "-w", "-f", commands, device), work, what="putting files right", on_line=said.append)
    failed = [line for line in said if line and not line.startswith("debugfs 1.")]  # it ends with 0 whatever happened
    if failed:
        raise DriverError(
            "files cannot be kept as they are",
            why="\n".join(failed[:SHOWN]),
            hint="is the disk large enough for files without holes?",
        )
