"""Images of a base with little changed, written fast: the base's disk is made once, a machine's changes are added.

The base's disk is in the cache, compressed as images are, and beside it the metadata of its file system as a sparse
file. A machine's layers are written into a mounted copy of that metadata, by a process of its own whose mount and loop
device end with it. Which blocks that changed follows from the two files; they are compressed and joined with the base's
compressed clusters as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bakery.cache.checkpoints import inventory
from bakery.disk import block_changes, bootfiles, build, ext4_metadata, qcow2_overlay, qemuimg
from bakery.disk.layout import Layout
from bakery.disk.qcow2_splice import join
from bakery.disk.qemuimg import Compression, Format
from bakery.drivers.nspawn.apply_layer import tell_lost
from bakery.drivers.nspawn.layer_writer import WriteOrder
from bakery.drivers.nspawn.merged_tree import merged
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.lock import hold
from bakery.util.sparse_files import digest
from bakery.util.tools import alone, missing, root, run

VERSION = 3
"""Part of every template's name. Raise it when disks are made in another way."""
NEW = ".new"
LARGEST = 1 << 30
"""Bytes of changes above which a disk made from the start is as fast."""
GRUB = ("usr/lib/grub", "usr/bin/grub-mkimage", "lib/grub")
"""What the boot loader's images are made of: where a machine changed it, they must be made anew."""
LOOP = Path("/dev/loop-control")
PROGRAMS = {"e2image": "e2fsprogs", "dumpe2fs": "e2fsprogs", "mount": "mount"}
POINTS = (Path("/mnt"), Path("/media"), Path("/srv"), Path("/opt"))
"""Where a disk can be mounted; it remembers the path, which therefore is none of the build's."""
KERNEL = (5, 8)
"""Linux that tells of failed writes when a file system is flushed (syncfs(2)); before, they were lost."""
SERVED = re.compile(r"fuse.*|9p|virtiofs|nfs\d?|cifs|smb3|ceph|afs")
"""File systems behind which a process or another machine stands: one that hangs would hang a mount on top of it."""
PACKAGE = Path(__file__).parents[3]
"""Where `bakery` is imported from."""
PATIENCE = 900.0
"""Seconds for writing the layers."""


@dataclass(frozen=True)
class Template:
    """A base's disk in the cache.

    Args:
        folder: where its files are.
    """

    folder: Path

    @property
    def image(self) -> Path:
        """The disk, as qcow2."""
        return self.folder / "image.qcow2"

    @property
    def metadata(self) -> Path:
        """The root file system without the content of files, as a sparse file."""
        return self.folder / "metadata.raw"

    @property
    def free(self) -> list[range]:
        """The blocks of the root file system that are free."""
        return [range(start, stop) for start, stop in json.loads(self._free.read_text())]

    @property
    def _free(self) -> Path:
        return self.folder / "free.json"

    def make(self, raw: Path, layout: Layout, work: WorkContext) -> None:
        """Fill the folder, which is there and empty, with what a raw disk says.

        Raises:
            DriverError: a tool fails.
        """
        qemuimg.convert(qemuimg.described(raw, "raw"), self.image, format="qcow2", work=work)
        ext4_metadata.extract(raw, self.metadata, layout, work)
        free = ext4_metadata.free_blocks(self.metadata, work)
        self._free.write_text(json.dumps([(part.start, part.stop) for part in free]))


def unusable(layers: Sequence[Path], folder: Path) -> str:
    """Say why a machine's disk must be made from the start; empty when it need not.

    Args:
        layers: what it changed, topmost first.
        folder: where the disk would be written.
    """
    if root():
        return "only root can mount a disk"
    if not alone() or not LOOP.exists():
        return "a disk cannot be mounted here: setpriv, or /dev/loop-control, is missing"
    for problem in missing(PROGRAMS):
        return problem.what
    if _kernel() < KERNEL:
        return f"this kernel does not tell of failed writes; Linux {KERNEL[0]}.{KERNEL[1]} does"
    if SERVED.fullmatch(kind := _file_system(folder)):
        return f"{folder} is on a file system of type {kind}"
    if any((layer / name).exists() for layer in layers for name in GRUB):
        return "the boot loader was changed"
    if inventory.size(layers) > LARGEST:
        return "much was changed"
    return ""


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on; empty where it cannot be told."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == number:
            return right.split()[0]
    return ""


def write(
    to: Path,
    *,
    layers: Sequence[Path],
    tree: Path,
    layout: Layout,
    folder: Path,
    work: WorkContext,
    format: Format = "qcow2",  # noqa: A002  as everywhere
    compression: Compression = "zstd",
) -> str:
    """Write the image of a machine that has ended.

    Args:
        to: the file to write.
        layers: what it changed, topmost first.
        tree: the base's files.
        layout: of the disk.
        folder: for scratch files; on a large disk.
        work: where the cache is.
        format: `qcow2` or `raw`.
        compression: of a qcow2 image.

    Returns:
        The SHA-256 of the image, hexadecimal.

    Raises:
        DriverError: a tool fails, or the files do not fit on the disk.
    """
    template = prepare(tree, layout, work)
    files = _ties(layers, tree, layout, folder, work)
    return write_changed(
        to,
        template,
        layers=layers,
        files=files,
        layout=layout,
        folder=folder,
        work=work,
        format=format,
        compression=compression,
    )


def write_changed(
    to: Path,
    template: Template,
    *,
    layers: Sequence[Path],
    files: Mapping[str, str],
    layout: Layout,
    folder: Path,
    work: WorkContext,
    format: Format = "qcow2",  # noqa: A002  as everywhere
    compression: Compression = "zstd",
) -> str:
    """Write a template's image with layers and files on top; arguments and result are those of `write`.

    Args:
        to, layers, layout, folder, work, format, compression: as for `write`.
        template: what to change.
        files: of root's, mode 0644: absolute path to text.
    """
    disk, overlay, delta = folder / "root.raw", folder / "overlay.qcow2", folder / "delta.qcow2"
    try:
        _write_layers(_order(template, disk, layers, files), layout, work)
        before = template.free
        after = ext4_metadata.free_blocks_now(disk, before)
        changes = block_changes.changes(template.metadata, disk, free_before=before, free_after=after, work=work)
        start = layout.root.start
        if format == "raw":
            qemuimg.convert(qemuimg.described(template.image, "qcow2"), to, format=format, work=work)
            block_changes.write_into(to, changes, disk, start=start, work=work)
            return digest(to, "sha256", work)
        qcow2_overlay.write(overlay, changes, disk, base=template.image, size=layout.size, start=start, work=work)
        disk.unlink()
        if compression == "zstd":  # as the template's own clusters are
            qemuimg.changes(overlay, delta, base=template.image, work=work)
            return join(template.image, delta, to, work)
        qemuimg.convert(qemuimg.described(overlay, "qcow2"), to, format=format, work=work, compression=compression)
        return digest(to, "sha256", work)
    finally:
        for path in (disk, overlay, delta):
            path.unlink(missing_ok=True)


def prepare(tree: Path, layout: Layout, work: WorkContext) -> Template:
    """Make the base's disk, or find it in the cache.

    Args:
        tree: the base's files.
        layout: of the disk.
        work: where the cache is.

    Raises:
        DriverError: a tool fails, or the files do not fit on the disk.
    """
    template = place(tree, layout, work)
    folder, new = template.folder.parent, template.folder.with_name(NEW)
    with hold(folder / "lock", what="the base's disk is being made", work=work):
        if not template.folder.exists():
            work.waiting("making the base's disk")
            build.remove(new, work)  # of a process that was killed: nobody else is here while we hold the lock
            new.mkdir()
            raw = new / "disk.raw"
            try:
                build.make_disk(tree, raw, work, size=layout.size, identity=layout.identity)
                Template(new).make(raw, layout, work)
                raw.unlink()
                inventory.flush(new)
                new.rename(template.folder)
            finally:
                build.remove(new, work)
    return template


def place(tree: Path, layout: Layout, work: WorkContext) -> Template:
    """Say where in the cache the base's disk is, or would be."""
    known = tree.stat()
    decides = (VERSION, str(tree), known.st_ino, known.st_mtime_ns, layout.size, str(layout.identity))
    return Template(work.cache / "bases" / f"disk-{hashlib.sha256(repr(decides).encode()).hexdigest()[:32]}" / "disk")


def _ties(layers: Sequence[Path], tree: Path, layout: Layout, folder: Path, work: WorkContext) -> dict[str, str]:
    """Return the files that tie a tree to its disk, where the machine's kernels or settings call for others."""
    before = bootfiles.ties(tree, layout)
    with merged([*layers, tree], folder, work) as files:
        after = bootfiles.ties(files, layout)
        bootfiles.tell_unread(files, work)
        return {path: text for path, text in after.items() if text != before[path] or _changed(path, layers)}


def _changed(path: str, layers: Iterable[Path]) -> bool:
    """Whether a layer has something to say about a file of the base's."""
    return any(os.path.lexists(layer / path.lstrip("/")) for layer in layers)


def _order(template: Template, disk: Path, layers: Sequence[Path], files: Mapping[str, str]) -> WriteOrder:
    """Return what the program that mounts `disk` must do."""
    needed = [disk, template.folder, *layers, PACKAGE, Path(sys.prefix), Path(sys.base_prefix)]
    return WriteOrder(
        disk=str(disk.absolute()),
        metadata=str(template.metadata.absolute()),
        point=str(mount_point(needed)),
        layers=[str(layer.absolute()) for layer in reversed(layers)],
        files={path.lstrip("/"): text for path, text in files.items()},
    )


def _write_layers(order: WriteOrder, layout: Layout, work: WorkContext) -> None:
    """Write layers and files into a copy of the base's metadata, by a process that nothing outlives.

    Raises:
        DriverError: it fails, or was killed.
    """
    note = Path(order.disk).with_suffix(".json")
    note.write_text(order.to_json())
    try:
        lost = run(
            (*alone(), sys.executable, "-P", "-m", "bakery.drivers.nspawn.layer_writer"),
            work,
            what="writing the machine's files to its disk",
            stdin=note,
            timeout=PATIENCE,
            env={"PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH", "")]))},
            hint=f"the disk is {layout.size >> 20} MiB; is it large enough?",
        )
    finally:
        note.unlink()
    tell_lost(json.loads(lost), work)


def mount_point(needed: Sequence[Path]) -> Path:
    """Find a folder to mount a file system on that hides nothing that is needed.

    Raises:
        DriverError: there is none.
    """
    for point in POINTS:
        if point.is_dir() and not any(path.resolve().is_relative_to(point.resolve()) for path in needed):
            return point
    raise DriverError("there is no place to mount a disk", why=f"looked at: {', '.join(map(str, POINTS))}")
