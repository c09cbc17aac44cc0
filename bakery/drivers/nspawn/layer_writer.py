"""The program that mounts a disk's file system, writes a machine's layers into it, and unmounts it.

It is process 1 of a PID and mount namespace of its own (`bakery.util.tools.alone`), reads a `WriteOrder` as JSON from
its standard input, and writes as JSON a list of the files whose attributes of chattr(1) the disk does not take.
However it ends, the kernel unmounts with it. Below the mount are a loop device and a plain file, and no process:
nothing that has to be alive for the unmounting to end.

Whatever it takes out of the tree goes into a bin, which is emptied when all else is on the disk. So no block that held
a file's content is used anew, and the caller can tell from the list of free blocks what changed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bakery.disk.block_changes import copy_data
from bakery.disk.loop_device import attached, path_of
from bakery.disk.rooted_path import inside
from bakery.drivers.nspawn.apply_layer import apply, remove, unlock_all
from bakery.util.process import run_process
from bakery.util.waiting import Cancel

OPTIONS = "noload,noatime,nobarrier"
"""`noload`: without the journal, which is for power cuts; the file is thrown away where this does not end in order."""
TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, kw_only=True)
class WriteOrder:
    """What to write.

    Args:
        disk: the file to make.
        metadata: a sparse file with what to mount, an ext4 file system that was unmounted in order; it is copied.
        point: where to mount it; what is there is hidden meanwhile, so nothing that is needed may be.
        layers: of the machine, the lowest first.
        files: more files of root's, mode 0644: relative path to text; their folders are there.
    """

    disk: str
    metadata: str
    point: str
    layers: Sequence[str]
    files: Mapping[str, str]

    def to_json(self) -> str:
        """Return it as `main` reads it."""
        return json.dumps(asdict(self))


class Bin:
    """A folder in the tree for what is taken out of it.

    Args:
        tree: the root of a mounted file system.
    """

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._folder = Path(tempfile.mkdtemp(prefix=".removed-", dir=tree))
        self._count = 0

    def take(self, path: Path) -> None:
        """Take a file or folder out of the tree; nothing happens when it is not there."""
        if path == self._folder:
            return
        try:
            self._move(path)
        except FileNotFoundError:
            return
        self._count += 1

    def _move(self, path: Path) -> None:
        bin_name = self._folder / str(self._count)
        try:
            path.rename(bin_name)
        except PermissionError:  # a lower layer has made it immutable
            unlock_all(path)
            path.rename(bin_name)

    def empty(self) -> None:
        """Remove what was taken, and the bin; the root folder keeps its dates."""
        status = self._tree.stat()
        remove(self._folder)
        os.utime(self._tree, ns=(status.st_atime_ns, status.st_mtime_ns))


def main() -> None:
    """Do what the order on standard input says; exit code 1, with the cause as the last words, where it fails."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # process 1 has no signals by default
    try:
        json.dump(write(WriteOrder(**json.load(sys.stdin))), sys.stdout)
    except (OSError, shutil.Error) as error:
        sys.exit(str(error))


def write(order: WriteOrder) -> list[str]:
    """Make the file, mount it, write into it, unmount it.

    Returns:
        The files whose attributes of chattr(1) its file system does not take.

    Raises:
        OSError: the disk in it is too small, cannot be mounted, or the disk that it is on is full or damaged.
    """
    disk, metadata = Path(order.disk), Path(order.metadata)
    with disk.open("xb") as file:
        file.truncate(metadata.stat().st_size)
    with attached(disk) as device:
        copy_data(metadata, device)
        _run("mount", "-t", "ext4", "-o", OPTIONS, str(path_of(device)), order.point)
        lost = _fill(Path(order.point), order)
        _run("umount", order.point)
    return lost


def _fill(tree: Path, order: WriteOrder) -> list[str]:
    garbage = Bin(tree)
    lost: list[str] = []
    for layer in order.layers:
        lost += apply(Path(layer), tree, garbage.take)
    for path, text in order.files.items():
        _write_file(tree, path, text, garbage)
    _flush(tree)
    garbage.empty()
    _flush(tree)
    return lost


def _write_file(tree: Path, path: str, text: str, garbage: Bin) -> None:
    file = inside(tree, str(Path(path).parent)) / Path(path).name
    garbage.take(file)
    with file.open("x", encoding="utf-8") as opened:
        opened.write(text)
    file.chmod(0o644)


def _flush(tree: Path) -> None:
    """Write to the disk what the kernel holds; its errors would be lost with the unmounting (syncfs(2))."""
    _run("sync", "--file-system", str(tree))


def _run(*words: str) -> None:
    result = run_process(words, cancel=Cancel())
    if result.failed:
        said = (result.stderr or result.stdout).strip()
        raise ChildProcessError(f"{words[0]}: {said or f'exit code {result.exited}'}")


if __name__ == "__main__":
    main()
