"""The disk that a container is captured as."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from bakery.disk import build, qemuimg
from bakery.disk.layout import Layout
from bakery.disk.qemuimg import Compression, Format
from bakery.drivers.nspawn import base_template
from bakery.drivers.nspawn.layer_flags import merged_flags
from bakery.drivers.nspawn.merged_tree import merged
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.sparse_files import digest


def layout_of(key: str, size: int) -> Layout:
    """Return how the disk of a machine is laid out: with the identity of its base's disk, as a virtual machine's is.

    Args:
        key: the base's.
        size: bytes of the disk.
    """
    try:
        identity = UUID(key[:32])
    except ValueError:  # no hexadecimal digest
        identity = UUID(hashlib.sha256(key.encode()).hexdigest()[:32])
    return Layout(size=build.rounded(size), identity=identity)


def write(
    to: Path,
    *,
    format: Format,  # noqa: A002  as everywhere
    layers: Sequence[Path],
    tree: Path,
    layout: Layout,
    folder: Path,
    work: WorkContext,
    compression: Compression = "zstd",
) -> str:
    """Write the image of a machine that has ended: by changing the base's disk where that can be done, else anew.

    Args:
        to: the file to write.
        format: `qcow2` or `raw`.
        layers: what the machine changed, topmost first.
        tree: the base's files.
        layout: of the disk.
        folder: for scratch files; on a large disk.
        work: can cancel it.
        compression: of a qcow2 image.

    Returns:
        The SHA-256 of the image, hexadecimal.

    Raises:
        DriverError: a tool fails, or the files do not fit on the disk.
    """
    if not base_template.unusable(layers, folder):
        try:
            return base_template.write(
                to,
                layers=layers,
                tree=tree,
                layout=layout,
                folder=folder,
                work=work,
                format=format,
                compression=compression,
            )
        except DriverError as error:
            to.unlink(missing_ok=True)
            work.notice(f"the disk is made from the start, which takes longer: {error.what}", hint=error.why)
    raw = folder / "disk.raw" if format == "qcow2" else to
    with merged([*layers, tree], folder, work) as files:
        flags = merged_flags(layers)
        build.make_disk(files, raw, work, size=layout.size, identity=layout.identity, flags=flags)
    if format == "qcow2":
        qemuimg.convert(qemuimg.described(raw, "raw"), to, format="qcow2", work=work, compression=compression)
        raw.unlink()
    return digest(to, "sha256", work)
