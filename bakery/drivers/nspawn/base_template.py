"""Images of a base with little changed, written fast: the base's disk is made once, and changed by a mounted copy.

The base's disk is in the cache, compressed as images are. A machine's layers are written into an overlay of it, which
QEMU's storage daemon shows as a file and this kernel mounts; what that changed is compressed and joined with the base's
compressed clusters as they are. The helpers and mounts live in namespaces that end with one process.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bakery.cache.checkpoints import inventory
from bakery.disk import bootfiles, build, qemuimg
from bakery.disk.layout import Layout
from bakery.disk.qcow2_splice import join
from bakery.drivers.nspawn.apply_layer import apply
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.lock import hold
from bakery.util.tools import alone, root

VERSION = 1
"""Part of every template's name. Raise it when disks are made in another way."""
IMAGE = "image.qcow2"
LARGEST = 1 << 30
"""Bytes of changes above which a disk made from the start is as fast."""
GRUB = ("usr/lib/grub", "usr/bin/grub-mkimage", "lib/grub")
"""What the boot loader's images are made of: where a machine changed it, they must be made anew."""
DEVICES = (Path("/dev/fuse"), Path("/dev/loop-control"))
PATIENCE = 120.0
HOLD = """\
set -eu
qemu-storage-daemon \\
    --blockdev "driver=file,node-name=file,filename=$1,cache.no-flush=on,discard=unmap" \\
    --blockdev driver=qcow2,node-name=disk,file=file,cache.no-flush=on,discard=unmap \\
    --export "type=fuse,id=disk,node-name=disk,mountpoint=$2,writable=on" &
daemon=$!
until grep -q " $2 fuse" /proc/mounts; do
    kill -0 $daemon
    sleep 0.01
done
mount -t ext4 -o "loop,offset=$3,discard" "$2" /mnt
echo ready
read -r _ || true
umount /mnt
kill $daemon
wait $daemon
echo done
"""


def unusable(layers: Sequence[Path]) -> str:
    """Say why a machine's disk must be made from the start; empty when it need not.

    Args:
        layers: what it changed, topmost first.
    """
    if root():
        return "only root can mount a disk"
    if shutil.which("qemu-storage-daemon") is None:
        return "qemu-storage-daemon is not installed"
    if not alone() or not Path("/mnt").is_dir():
        return "there is no place to mount a disk where nobody sees it"
    if not all(device.exists() for device in DEVICES):
        return "this host has no FUSE, or no loop devices"
    if any((layer / name).exists() for layer in layers for name in GRUB):
        return "the boot loader was changed"
    if inventory.size(layers) > LARGEST:
        return "much was changed"
    return ""


def write(to: Path, *, layers: Sequence[Path], tree: Path, layout: Layout, folder: Path, work: WorkContext) -> str:
    """Write the image of a machine that has ended.

    Args:
        to: the qcow2 file to write.
        layers: what it changed, topmost first.
        tree: the base's files.
        layout: of the disk.
        folder: for scratch files; on a large disk.
        shop: where the cache is.

    Returns:
        The SHA-256 of the image, hexadecimal.

    Raises:
        DriverError: a tool fails, or the files do not fit on the disk.
    """
    below = prepare(tree, layout, work)
    overlay, delta = folder / "overlay.qcow2", folder / "delta.qcow2"
    try:
        qemuimg.overlay(overlay, base=below, format="qcow2", size=layout.size, work=work, cluster=qemuimg.CLUSTER)
        with _mounted(overlay, layout.root.start, folder) as disk:
            try:
                for layer in reversed(layers):
                    work.cancel.check()
                    apply(layer, disk)
                _tie(disk, layout)
            except OSError as error:
                hint = f"the disk is {layout.size >> 20} MiB; is it large enough?"
                raise DriverError("the machine's files cannot be written", why=str(error), hint=hint) from error
        qemuimg.changes(overlay, delta, base=below, work=work)
        return join(below, delta, to, work)
    finally:
        overlay.unlink(missing_ok=True)
        delta.unlink(missing_ok=True)


def prepare(tree: Path, layout: Layout, work: WorkContext) -> Path:
    """Make the base's disk as an image, or find it in the cache.

    Args:
        tree: the base's files.
        layout: of the disk.
        shop: where the cache is.

    Raises:
        DriverError: a tool fails, or the files do not fit on the disk.
    """
    known = tree.stat()
    decides = (VERSION, str(tree), known.st_ino, known.st_mtime_ns, layout.size, str(layout.identity))
    folder = work.cache / "bases" / f"disk-{hashlib.sha256(repr(decides).encode()).hexdigest()[:32]}"
    image = folder / IMAGE
    with hold(folder / "lock", what="another bake is making the base's disk", work=work):
        if not image.exists():
            work.waiting("making the base's disk")
            raw, part = folder / "disk.raw", folder / f"{IMAGE}.part"
            try:
                build.make_disk(tree, raw, work, size=layout.size, identity=layout.identity)
                source = {"driver": "raw", "file": {"driver": "file", "filename": str(raw)}}
                qemuimg.convert(source, part, format="qcow2", work=work)
            finally:
                raw.unlink(missing_ok=True)
            part.replace(image)
    return image


def _tie(tree: Path, layout: Layout) -> None:
    """Write the files that tie a tree to its disk, where the machine's kernels or settings call for others."""
    for path, text in bootfiles.ties(tree, layout).items():
        file = tree / path.lstrip("/")
        if not file.is_file() or file.read_text() != text:
            file.unlink(missing_ok=True)
            file.write_text(text)
            file.chmod(0o644)


@contextmanager
def _mounted(overlay: Path, start: int, folder: Path) -> Generator[Path]:
    """Mount the file system at byte `start` of a qcow2 file while the block runs, where nobody else sees it."""
    shown = folder / "shown"
    shown.touch()
    with subprocess.Popen(
        [*alone(), "sh", "-c", HOLD, "sh", str(overlay), str(shown), str(start)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101  asked for as pipes
        try:
            if process.stdout.readline() != "ready\n":
                raise DriverError("the base's disk cannot be mounted", why=process.communicate(timeout=PATIENCE)[1])
            yield Path("/proc", str(process.pid), "root/mnt")
            said, errors = process.communicate(timeout=PATIENCE)  # which closes its standard input first
            if said != "done\n":
                raise DriverError("the machine's disk was not written to its end", why=errors)
        except subprocess.TimeoutExpired as error:
            raise DriverError("the machine's disk was not unmounted", why=f"not within {PATIENCE:g} s") from error
        finally:
            process.kill()  # and with it all that it has started and mounted
            shown.unlink()
