"""A file system that mke2fs fills is, file by file, the tree that it was made of."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from bakery.disk import ext4
from bakery.disk.layout import Layout, partition
from bakery.errors import DriverError
from bakery.events import Event, Notice
from bakery.util import inode_flags
from bakery.util.context import WorkContext

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of every kind"),
]
LAYOUT = Layout(size=256 << 20, identity=UUID(int=3))
IN_2040 = 2_208_988_800_123_456_789
FLAGS = {"/etc/resolv.conf": inode_flags.LETTERS["i"] | inode_flags.LETTERS["d"], "/etc": inode_flags.LETTERS["A"]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One file of each kind that was once lost."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/resolv.conf").write_text("nameserver 10.0.0.1\n")
    (tree / "etc/fstab").write_text("")
    (tree / "swap").write_bytes(bytes(20 << 20))
    with (tree / "reserved").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 8 << 20)
    with (tree / "sparse").open("wb") as file:
        file.truncate(6 << 30)
        os.pwrite(file.fileno(), b"end", (6 << 30) - 3)
    (tree / "mixed").write_bytes(b"x" * 4096 + bytes(40_960) + b"y")
    (tree / "link").symlink_to("etc")
    os.link(tree / "link", tree / 'a "second" name', follow_symlinks=False)
    (tree / "one").symlink_to("etc")
    os.link(tree / "one", tree / "two names", follow_symlinks=False)
    os.link(tree / "etc/fstab", tree / "fstab")
    os.mkfifo(tree / "pipe")
    os.link(tree / "pipe", tree / "pipe2")
    os.mknod(tree / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tree / "socket"))
    for name, moment in (("late", IN_2040), ("early", -2_500_000_000), ("fraction", 1_700_000_000_000_000_001)):
        (tree / name).write_text(name)
        os.utime(tree / name, ns=(moment, moment))
    os.utime(tree / "one", ns=(IN_2040, IN_2040), follow_symlinks=False)
    os.utime(tree / "etc", ns=(IN_2040, IN_2040))
    os.chown(tree / "late", 100_000, 70_000)
    tree.chmod(0o1751)
    os.chown(tree, 100_000, 4)
    os.utime(tree, ns=(1_700_000_000 * 10**9, 1_700_000_000 * 10**9))
    return tree


def make(tree: Path, folder: Path) -> tuple[Path, list[Event]]:
    disk, told = folder / "disk", list[Event]()
    work = WorkContext(cache=folder, emit=told.append)
    partition(disk, LAYOUT, folder, work)
    ext4.make(disk, LAYOUT, tree, folder, work, flags=FLAGS)
    return disk, told


@pytest.fixture
def mounted(tree: Path, tmp_path: Path) -> Iterator[Path]:
    disk, told = make(tree, tmp_path)
    system, point = tmp_path / "system", tmp_path / "point"
    with disk.open("rb") as file, system.open("wb") as out:
        file.seek(LAYOUT.root.start)
        shutil.copyfileobj(file, out, 1 << 20)
    assert subprocess.run(["e2fsck", "-f", "-n", system], capture_output=True, check=False).returncode == 0
    (said,) = [event.message for event in told if isinstance(event, Notice)]
    assert said.endswith("""differ in the image: '/a "second" name'""")
    point.mkdir()
    if subprocess.run(["mount", "-o", "ro,loop,noload", system, point], capture_output=True, check=False).returncode:
        pytest.skip("no loop device here")
    yield point
    subprocess.run(["umount", point], check=True)


def looks(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content = str(path.readlink()) if path.is_symlink() else status.st_size if path.is_file() else None
    blocks = status.st_blocks * 512 >= status.st_size if path.is_file() and not path.is_symlink() else None
    links = status.st_nlink if not path.is_dir() else None
    return (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_mtime_ns, links, content, blocks)


def test_every_file_is_as_it_was(tree: Path, mounted: Path) -> None:
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    quoted = {"link", 'a "second" name'}  # debugfs cannot be told of such a name: one link has become two
    assert [name for name in names if name not in quoted and looks(tree / name) != looks(mounted / name)] == []
    assert looks(mounted) == looks(tree), "mke2fs makes a root folder of its own"
    assert (mounted / "mixed").read_bytes() == (tree / "mixed").read_bytes()
    assert (mounted / "sparse").stat().st_blocks * 512 < 1 << 20
    assert {
        f"/{name}": flags for name in ("etc", "etc/resolv.conf") if (flags := inode_flags.read(mounted / name))
    } == FLAGS


def test_files_without_holes_that_do_not_fit_are_an_error(tree: Path, tmp_path: Path) -> None:
    with (tree / "much").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 250 << 20)
    with pytest.raises(DriverError, match="as they are"):
        make(tree, tmp_path)
