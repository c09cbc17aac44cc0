"""A machine's layers seen as one tree, after the machine has ended; nothing is mounted where others can see it."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bakery.disk.build import remove
from bakery.drivers.nspawn.layers import mount_option
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.process import PIPE, Process, end_group, ready, start_process, wait
from bakery.util.tools import dies_with_us, root, run

BEGIN = "set -eu; export LIBMOUNT_FORCE_MOUNT2=always"
"""By mount(2): see boot.sh."""
HOLD = f'{BEGIN}; mount -t overlay overlay -o "ro,lowerdir=$1" "$2"; echo ready; read -r _ || true'
COPY = (
    f'{BEGIN}; mount -t overlay overlay -o "ro,lowerdir=$1,userxattr" "$2"; exec cp --archive --reflink=auto "$2" "$3"'
)
"""`exec`: the signal that this process's death sends reaches the first process alone."""
PATIENCE = 60.0
"""Seconds in which folders are mounted, or a process that was told to end must have ended."""


@contextmanager
def merged(layers: Sequence[Path], folder: Path, work: WorkContext) -> Generator[Path]:
    """Yield a folder in which the layers are one tree, read-only, while the block runs.

    For root it is the mount namespace of a helper process, reached through /proc, that ends with the block. Others
    get a copy: what one user namespace has mounted, another cannot read.

    Args:
        layers: topmost first; two at least, for that is what an overlay is.
        folder: for the mount point, or the copy.
        work: can cancel it.

    Raises:
        DriverError: the layers cannot be mounted, or the helper process was killed meanwhile.
    """
    scratch = Path(tempfile.mkdtemp(prefix="merged-", dir=folder))
    point = scratch / "point"
    point.mkdir()
    option = mount_option(layers)
    try:
        if root():
            mount = ("--mount", "sh", "-c", COPY, "sh", option, point, scratch / "tree")
            run((*root()[:-1], *mount), work, what="putting the layers together")
            yield scratch / "tree"
            return
        with _holder(option, point) as pid:
            yield Path("/proc", str(pid), "root", point.relative_to("/"))
    finally:
        remove(scratch, work)


@contextmanager
def _holder(option: str, point: Path) -> Generator[int]:
    words = [*dies_with_us(), "unshare", "--mount", "sh", "-c", HOLD, "sh", option, str(point)]
    process = start_process(words, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.stdin is not None  # noqa: S101  asked for as pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    try:
        if not ready([process.stdout.fileno()], PATIENCE) or process.stdout.readline() != b"ready\n":
            process.kill()
            said = process.stderr.read().decode(errors="replace").strip()
            raise DriverError("the machine's layers cannot be put together", why=said or f"not within {PATIENCE:g} s")
        try:
            yield process.pid
        except (OSError, DriverError) as error:
            if process.poll() is None:
                raise
            raise DriverError("the process that showed the machine's layers as one was killed") from error
    finally:
        _end(process)


def _end(process: Process) -> None:
    """End the helper: by the end of its input, else by a signal; it is not waited for longer than `PATIENCE`."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    if wait(process, PATIENCE) is None:
        end_group(process)
