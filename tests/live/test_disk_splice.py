"""Two qcow2 files joined into one, read back by QEMU itself; layers written into a tree, compared with an overlay."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from bakery.disk import qemuimg
from bakery.disk.qcow2_splice import join
from bakery.drivers.nspawn.apply_layer import apply
from bakery.errors import DriverError
from bakery.util.context import WorkContext

pytestmark = pytest.mark.live
MIB = 1 << 20
SIZE = 900 * MIB
"""More than one table of clusters covers, which is 512 MiB."""


def run(*words: str | Path) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def written(disk: Path, writes: list[tuple[str, int, int]]) -> None:
    words = [word for what, at, size in writes for word in ("-c", f"{what} {at} {size}")]
    run("qemu-io", "-f", "qcow2", "-d", "unmap", *words, disk)


def compressed(source: Path, to: Path) -> None:
    run("qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type=zstd", source, to)


@pytest.mark.parametrize("seed", range(6))
def test_a_joined_disk_shows_what_the_overlay_showed(tmp_path: Path, seed: int) -> None:
    """Random writes, zeros and discards; text that compresses, noise that does not."""
    chance, noise = random.Random(seed), tmp_path / "noise"
    noise.write_bytes(random.Random(seed).randbytes(MIB))
    work = WorkContext(cache=tmp_path)

    def writes(count: int) -> list[tuple[str, int, int]]:
        kinds = (f"write -s {noise}", "write -P 65", "write -z", "discard")
        places = (0, 300 * MIB, 511 * MIB, SIZE - 2 * MIB)
        return [
            (
                chance.choice(kinds),
                chance.choice(places) + chance.randrange(0, MIB, 512),
                chance.randrange(512, MIB, 512),
            )
            for _ in range(count)
        ]

    plain, below = tmp_path / "plain.qcow2", tmp_path / "below.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", plain, str(SIZE))
    written(plain, [write for write in writes(12) if seed % 2 or write[1] < 400 * MIB])  # without a second table, too
    compressed(plain, below)
    overlay, delta, joined = (tmp_path / f"{name}.qcow2" for name in ("overlay", "delta", "joined"))
    qemuimg.overlay(overlay, base=below, format="qcow2", size=SIZE, work=work, cluster=qemuimg.CLUSTER)
    written(overlay, writes(12))
    qemuimg.changes(overlay, delta, base=below, work=work)
    sha256 = join(below, delta, joined, work)
    assert sha256 == hashlib.sha256(joined.read_bytes()).hexdigest()
    assert "No errors" in run("qemu-img", "check", joined)
    assert "identical" in run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", joined, overlay)
    assert '"backing-filename"' not in run("qemu-img", "info", "--output=json", joined)
    written(joined, [("write -P 1", place, MIB) for place in (0, 299 * MIB, 512 * MIB)])  # its counts are right
    assert "No errors" in run("qemu-img", "check", joined)


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    small, large, loose = (tmp_path / f"{name}.qcow2" for name in ("small", "large", "loose"))
    for path, size in ((small, "1M"), (large, "2M"), (loose, "1M")):
        run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", path, size)
    run("qemu-img", "create", "-q", "-f", "qcow2", loose, "1M")
    work, out = WorkContext(cache=tmp_path), tmp_path / "out"
    with pytest.raises(DriverError, match="not a change of"):
        join(small, large, out, work)
    with pytest.raises(DriverError, match="not compressed with zstd"):
        join(small, loose, out, work)
    (tmp_path / "raw").write_bytes(bytes(MIB))
    with pytest.raises(DriverError, match="not a qcow2 file"):
        join(tmp_path / "raw", small, out, work)


ACL = bytes.fromhex("0200000001000700ffffffff020007000900000004000500ffffffff10000700ffffffff20000500ffffffff")
"""An access list that lets user 9 do all, as acl(5) has it in an extended attribute."""
ACCESS = "system.posix_acl_access"
CHANGES = """
set -e
cd "$1"
rm -r gone; rm file; mkdir file; echo in >file/in
rm -r folder; echo a file now >folder
rm -r replaced; mkdir replaced; echo new >replaced/new
echo more >>kept/first; chmod 4755 kept/second; chown 5:6 kept/third; touch -d 2001-02-03 kept/fourth
ln kept/first kept/again; ln -s nowhere kept/link; ln -sfn elsewhere kept/old-link
mkfifo kept/pipe; mknod kept/null c 1 3; setcap cap_net_raw=ep kept/seventh
mv kept/eighth kept/deep/er; rm kept/deep/file; chmod 2711 kept/deep
touch -d 2002-03-04 kept .
"""
MOUNT = """
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3,redirect_dir=off,metacopy=off,index=off" "$4"
echo ready
read -r _ || true
"""


def seen(tree: Path) -> dict[str, object]:
    """All that can be known of a tree."""
    found: dict[str, object] = {}
    for path in (tree, *sorted(tree.rglob("*"))):
        info = path.lstat()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
            if not name.startswith("trusted.overlay")
        }
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        names = 1 if path.is_dir() else info.st_nlink
        target = path.readlink() if path.is_symlink() else None
        found[str(path.relative_to(tree))] = (
            info.st_mode,
            info.st_uid,
            info.st_gid,
            info.st_mtime_ns,
            info.st_rdev,
            names,
            attributes,
            content,
            target,
        )
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount an overlay")
def test_a_layer_written_into_its_tree_gives_what_the_overlay_showed(tmp_path: Path) -> None:
    lower, upper, work, point = (tmp_path / name for name in ("lower", "upper", "work", "point"))
    for folder in ("gone/a/b", "folder/x", "replaced/x", "kept/deep", "listed"):
        (lower / folder).mkdir(parents=True)
    for made in (upper, work, point):
        made.mkdir()
    names = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "deep/file", "deep/stays")
    for name in (*(f"kept/{name}" for name in names), "file", "gone/a/b/c", "folder/x/y", "replaced/old"):
        (lower / name).write_text(name)
    (lower / "kept/old-link").symlink_to("first")
    os.setxattr(lower / "listed", ACCESS, ACL)
    words = ["unshare", "--mount", "sh", "-c", MOUNT, "sh", *map(str, (lower, upper, work, point))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        overlay = Path(f"/proc/{holder.pid}/root{point}")
        run("nsenter", "--target", str(holder.pid), "--mount", "sh", "-c", CHANGES, "sh", point)
        os.setxattr(overlay / "kept/fifth", ACCESS, ACL)
        os.removexattr(overlay / "listed", ACCESS)
        os.setxattr(overlay / "kept/sixth", "user.a", b"b")
        os.utime(overlay / "kept", (1, 1))
        shown = seen(overlay)
        holder.communicate()
    apply(upper, lower)
    assert seen(lower) == shown
    assert {"kept/again", "kept/deep/er", "replaced/new", "kept/null"} < shown.keys()
    assert not {"gone", "replaced/old", "kept/eighth", "kept/deep/file"} & shown.keys()
