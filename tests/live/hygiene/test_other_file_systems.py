"""Roots on XFS, btrfs and LVM: disks made here that are laid out like those of Alma, Fedora and others."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bakery.disk.inspect import Finding, Hygiene, inspect
from bakery.disk.inspect.lvm import logical_volumes
from bakery.util import tools
from bakery.util.context import WorkContext

pytestmark = [
    pytest.mark.live,
    pytest.mark.all,
    pytest.mark.skipif(os.geteuid() != 0, reason="XFS and btrfs are read by root alone"),
]
SECRET = b"correct-horse-battery-staple"
PATTERNS = [("admin_password", SECRET)]
NOISE = random.Random(1).randbytes(20_000).hex().encode()
"""In half the bytes when compressed, and no literals among them."""
START = 2048 * 512
FILES: Mapping[str, bytes] = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n",
    "etc/fstab": b"",
    "etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
    "root/.bash_history": b"passwd\n",
    "etc/app/token": NOISE + SECRET + NOISE,
    "home/ann/.ssh/authorized_keys": b"ssh-ed25519 AAAAC3Nz ann@laptop\n",
}


def tree(folder: Path, fstab: str) -> Path:
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fstab.encode() if name == "etc/fstab" else data)
    return folder


def disk(path: Path, size: int) -> Path:
    """A disk with one partition from 1 MiB on."""
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run(["/usr/sbin/sfdisk", "-q", path], input=b"label: gpt\nstart=2048\n", check=True)
    return path


def run(script: str, *words: str | Path) -> None:
    """Run a script whose mounts end with it."""
    environment = {**os.environ, "PATH": tools.search_path()}
    line = [*tools.alone(), "sh", "-ec", script, "sh", *words]
    subprocess.run(line, check=True, capture_output=True, env=environment)


def findings(image: Path, folder: Path) -> dict[tuple[str, str], Finding]:
    found = inspect(image, "raw", PATTERNS, Hygiene(folder=folder), WorkContext(cache=folder))
    return {(finding.kind, finding.path): finding for finding in found}


WANTED = {
    ("machine-id", "/etc/machine-id"),
    ("history", "/root/.bash_history"),
    ("secret", "/etc/app/token"),
    ("authorized-keys", "/home/ann/.ssh/authorized_keys"),
}


def xfs(folder: Path) -> Path:
    """A disk with a system on XFS."""
    image = disk(folder / "disk.raw", 402 << 20)
    part = folder / "part"
    with part.open("wb") as file:
        file.truncate(400 << 20)
    files = tree(folder / "tree", "LABEL=root / xfs defaults 0 0\n")
    made = 'mkfs.xfs -q -L root "$1"; mkdir "$3"; mount -o loop "$1" "$3"; cp -a "$2/." "$3"; chmod 666 "$3/etc/passwd"'
    run(made, part, files, folder / "point")
    run('dd if="$1" of="$2" bs=1M seek=1 conv=notrunc,sparse', part, image)
    return image


def btrfs(folder: Path) -> Path:
    """A disk with a system in two subvolumes of a btrfs, compressed."""
    image = disk(folder / "disk.raw", 258 << 20)
    part = folder / "part"
    with part.open("wb") as file:
        file.truncate(256 << 20)
    fstab = "LABEL=fedora / btrfs subvol=root,compress=zstd:1 0 0\nLABEL=fedora /home btrfs subvol=home 0 0\n"
    files = tree(folder / "tree", fstab)
    made = """
mkfs.btrfs -q -L fedora "$1"; mkdir "$3"; mount -o loop,compress-force=zstd "$1" "$3"
btrfs subvolume create "$3/root"; btrfs subvolume create "$3/home"
cp -a "$2/home/." "$3/home"; rm -r "$2/home"; cp -a "$2/." "$3/root"; mkdir "$3/root/home"
"""
    run(made, part, files, folder / "point")
    run('dd if="$1" of="$2" bs=1M seek=1 conv=notrunc,sparse', part, image)
    return image


def test_a_system_on_xfs_is_looked_into(tmp_path: Path) -> None:
    found = findings(xfs(tmp_path), tmp_path)
    assert {*found} >= WANTED
    assert found["secret", "/etc/app/token"].detail == "holds the secret admin_password, once"
    assert any(kind == "mode" and path == "/etc/passwd" for kind, path in found), sorted(found)
    assert not any(kind == "not-inspected" for kind, _ in found)


def test_a_file_system_that_this_kernel_refuses_is_said_and_stops_nothing(tmp_path: Path) -> None:
    image = xfs(tmp_path)
    with image.open("r+b") as file:
        file.seek(START + 128)
        file.write(b"\xff" * 8)  # how many inodes there are, which its checksum then gives away
    found = findings(image, tmp_path)
    assert any(
        kind == "not-inspected" and "cannot be read on this host" in each.detail for (kind, _), each in found.items()
    )


def test_subvolumes_of_a_btrfs_are_joined_and_compressed_files_are_searched(tmp_path: Path) -> None:
    image = btrfs(tmp_path)
    assert SECRET not in image.read_bytes(), "the test is none unless the file is compressed"
    found = findings(image, tmp_path)
    assert {*found} >= WANTED
    assert not any(kind == "not-inspected" for kind, _ in found)


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A disk with a group of two logical volumes, made by LVM's own tools without the device mapper."""
    image = disk(tmp_path / "disk.raw", 402 << 20)
    script = """
part=$(losetup --show --find --offset 1048576 "$1"); trap 'losetup -d "$part"' EXIT
export LVM_SYSTEM_DIR=$2 DM_DISABLE_UDEV=1; mkdir "$2"
lvm() { command lvm "$@" --driverloaded n --config 'devices{use_devicesfile=0}'; }
lvm pvcreate -q --devices "$part" "$part"; lvm vgcreate -q --devices "$part" my-vg "$part"
lvm lvcreate -q --devices "$part" -an -Zn -Wn -L 64M -n swap my-vg
lvm lvcreate -q --devices "$part" -an -Zn -Wn -L 128M -n root my-vg
lvm lvcreate -q --devices "$part" -an -Zn -Wn -L 16M -n home my-vg
lvm lvextend -q --devices "$part" -L 96M my-vg/swap
"""
    run(script, image, tmp_path / "lvm")
    return image


def test_a_system_on_a_logical_volume_is_looked_into(group: Path, tmp_path: Path) -> None:
    swap, root, home = logical_volumes(group, START)
    assert (root.group, root.name, root.size) == ("my-vg", "root", 128 << 20)
    assert root.devices == ("/dev/my-vg/root", "/dev/mapper/my--vg-root")
    assert swap.start is None, "it is in two pieces"
    assert root.start is not None
    assert home.start == root.start + root.size
    files = tree(tmp_path / "tree", "/dev/mapper/my--vg-root / ext4 defaults 0 1\n/dev/my-vg/home /home ext4 rw 0 2\n")
    for volume, folder in ((root, files), (home, tmp_path / "homes")):
        if volume is root:
            (files / "home").rename(tmp_path / "homes")
            (files / "home").mkdir()
        place = ["-E", f"offset={volume.start},root_owner=0:0", str(group), f"{volume.size >> 10}k"]
        subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", str(folder), *place], check=True)
    found = findings(group, tmp_path)
    assert {*found} >= WANTED
    assert {path for kind, path in found if kind == "not-inspected"} == {"volume my-vg/swap"}


def test_damaged_metadata_are_said_and_stop_nothing(group: Path, tmp_path: Path) -> None:
    data = group.read_bytes()
    (at,) = [match.start() for match in re.finditer(rb" LVM2 x\[5A%r0N\*>", data)][:1]
    with group.open("r+b") as file:
        file.seek(at)
        file.write(b"x" * 16)
    assert {*findings(group, tmp_path)} == {("not-inspected", "partition 1")}
    with pytest.raises(ValueError, match="format that we know"):
        logical_volumes(group, START)
