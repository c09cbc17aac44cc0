"""A machine's layers seen as one tree, after the machine has ended; nothing is mounted where others can see it."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bakery.disk.build import remove
from bakery.drivers.nspawn.layers import mount_option
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.tools import root, run

MOUNT = 'set -eu; mount -t overlay overlay -o "ro,lowerdir=$1" "$2"'
HOLD = f"{MOUNT}; echo ready; read -r _ || true"
COPY = 'set -eu; mount -t overlay overlay -o "ro,lowerdir=$1,userxattr" "$2"; cp --archive --reflink=auto "$2" "$3"'


@contextmanager
def merged(layers: Sequence[Path], folder: Path, work: WorkContext) -> Generator[Path]:
    """Yield a folder in which the layers are one tree, read-only, while the block runs.

    For root it is the mount namespace of a helper process, reached through /proc, that ends with the block. Others
    get a copy: what one user namespace has mounted, another cannot read.

    Args:
        layers: topmost first; two at least, for that is what an overlay is.
        folder: for the mount point, or the copy; not there yet.
        shop: can cancel it.

    Raises:
        DriverError: the layers cannot be mounted.
    """
    folder.mkdir()
    point = folder / "point"
    point.mkdir()
    option = mount_option(layers)
    if root():
        words: tuple[str | Path, ...] = (
            *root()[:-1],
            "--mount",
            "sh",
            "-c",
            COPY,
            "sh",
            option,
            point,
            folder / "tree",
        )
        run(words, work, what="putting the layers together")
        try:
            yield folder / "tree"
        finally:
            remove(folder / "tree", work)
        return
    with _holder(option, point) as pid:
        yield Path("/proc", str(pid), "root", point.relative_to("/"))


@contextmanager
def _holder(option: str, point: Path) -> Generator[int]:
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", HOLD, "sh", option, str(point)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None  # noqa: S101  asked for as pipes
        assert process.stderr is not None  # noqa: S101
        if process.stdout.readline() != b"ready\n":
            said = process.stderr.read().decode(errors="replace").strip()
            raise DriverError("the machine's layers cannot be put together", why=said)
        yield process.pid  # the helper ends when its standard input is closed, also when we are killed
