"""A machine's disk as layers: a base that many share, what checkpoints froze, and the one that is written to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bakery.disk import qemuimg
from bakery.disk.qemuimg import Format
from bakery.errors import DriverError
from bakery.model import from_json
from bakery.util.context import WorkContext
from bakery.util.files import write_whole

DISK = "disk"
"""The machine's first disk; further ones are `disk2` and so on."""
QCOW2_SIZE = slice(24, 32)
"""In a qcow2 header (QEMU's docs/interop/qcow2.txt): the size that a guest sees."""
UNSAFE = {"direct": False, "no-flush": True}
"""The guest's flushes are not passed on. A machine that dies with its host is made again, so nothing is lost."""


@dataclass(frozen=True)
class Layer:
    """One file of a disk."""

    file: str
    format: Format


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The layers of a running machine's disk.

    Written down in the machine's folder whenever a checkpoint adds one. The files' own headers are not asked what
    they stand on: a frozen layer moves from the machine's folder into the checkpoint's.

    Args:
        shared: what others use too, the lowest first: the base, and the layers of checkpoints.
        top: the file, in the machine's folder, that is written to.
    """

    shared: tuple[Layer, ...]
    top: str

    @classmethod
    def read(cls, folder: Path, disk: str = DISK) -> Layers:
        """Read what `write` wrote."""
        return from_json(cls, json.loads((folder / _file(disk)).read_text()))

    def write(self, folder: Path, disk: str = DISK) -> None:
        """Write it down."""
        write_whole(folder / _file(disk), json.dumps(asdict(self)))

    def all(self, folder: Path) -> tuple[Layer, ...]:
        """Every layer, with whole paths, the lowest first."""
        return (*self.shared, Layer(str(folder.absolute() / self.top), "qcow2"))


def must_exist(layers: Sequence[Layer]) -> None:
    """Look whether all files are there.

    Raises:
        DriverError: one was deleted; whoever stands on it must be made again.
    """
    for layer in layers:
        if not Path(layer.file).is_file():
            raise DriverError("a layer of the machine's disk is gone", why=layer.file, hint="bake without the cache")


def further(folder: Path) -> list[str]:
    """Return the names of a machine's disks beside the first, in order."""
    names = (path.stem.removeprefix("layers-") for path in folder.glob(_file("*")))
    return sorted(names, key=lambda name: int(name.removeprefix(DISK)))


def _file(disk: str) -> str:
    return "layers.json" if disk == DISK else f"layers-{disk}.json"


def empty(folder: Path, disk: str, size: int, work: WorkContext) -> Layers:
    """Make a further disk that stands on nothing, and has nothing on it.

    Args:
        folder: the machine's.
        disk: its name.
        size: bytes that the guest sees.
        work: can cancel it.
    """
    layers = Layers(shared=(), top=f"{disk}-0.qcow2")
    qemuimg.create(folder / layers.top, size=size, work=work)
    return layers


def add(folder: Path, shared: Sequence[Layer], *, size: int, work: WorkContext, disk: str = DISK) -> Layers:
    """Make the file that is written to, on top of others.

    Args:
        folder: the machine's.
        shared: what it stands on, the lowest first.
        size: bytes that the guest sees; 0 for as many as the layer below has.
        work: can cancel it.
        disk: which one.

    Raises:
        DriverError: `size` is less than the layer below has.
    """
    must_exist(shared)
    below = shared[-1]
    least = qemuimg.info(Path(below.file), below.format, work).virtual
    if 0 < size < least:
        raise DriverError(
            f"disk= is {size >> 20} MiB, its base {least >> 20} MiB: a disk cannot shrink", hint="leave out disk="
        )
    layers = Layers(shared=tuple(shared), top=f"{disk}-{len(shared)}.qcow2")
    path = folder / layers.top
    qemuimg.overlay(path, base=Path(below.file), format=below.format, size=max(size, least), work=work)
    return layers


def node(layers: Sequence[Layer], name: str | None = None) -> dict[str, Any]:
    """Describe a disk for QEMU's block layer, in which what the guest deletes is given back.

    Args:
        layers: the lowest first.
        name: QEMU's name for the uppermost.
    """
    *below, top = layers
    options: dict[str, Any] = {"cache": UNSAFE, "discard": "unmap"}
    made: dict[str, Any] = {
        "driver": top.format,
        **options,
        "file": {"driver": "file", "filename": top.file, **options},
    }
    if name is not None:
        made |= {"node-name": name, "detect-zeroes": "unmap"}
    if below:
        made["backing"] = node(below)
    return made


def virtual_size(path: Path) -> int:
    """Return the bytes of a disk that a guest sees, from the file alone: qcow2's header says it, a raw file is it."""
    with path.open("rb") as file:
        head = file.read(QCOW2_SIZE.stop)
    return int.from_bytes(head[QCOW2_SIZE], "big") if head.startswith(b"QFI\xfb") else path.stat().st_size
