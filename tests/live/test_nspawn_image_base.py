"""Containers that stand on images: the disk's files come out whole, and builds stand on each other in any order."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bakery.disk.bases.base import BaseDisk
from bakery.disk.bases.cloud_image import CloudImage
from bakery.drivers.nspawn import base_trees, disk_to_tree, host
from bakery.errors import DriverError
from bakery.model import Artifact
from bakery.util.context import WorkContext
from tests.live.baking import Project, clean

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]

TABLE = """\
label: gpt
unit: sectors
1 : start=2048, size=16384, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
2 : start=20480, size=20480, type=BC13C2FF-59E6-4262-A352-B275FD6F7172
3 : start=43008, size=40960, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
"""
FSTAB = """\
# what was there
LABEL=top / ext4 defaults 0 1
LABEL=kernels /boot ext4 defaults 0 2
LABEL=FIRMWARE /boot/efi vfat umask=0077 0 1
tmpfs /scratch tmpfs size=1M 0 0
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A tree with all that is easily lost on the way."""
    tree = tmp_path / "files"
    for folder in ("etc", "usr/bin", "boot", "srv", "scratch"):
        (tree / folder).mkdir(parents=True)
    (tree / "etc/fstab").write_text(FSTAB)
    (tree / "usr/bin/su").write_text("su")
    os.chown(tree / "usr/bin/su", 0, 7)
    (tree / "usr/bin/su").chmod(0o4750)
    os.link(tree / "usr/bin/su", tree / "usr/bin/again")
    (tree / "usr/bin/ping").write_text("ping")
    subprocess.run(["setcap", "cap_net_raw=ep", tree / "usr/bin/ping"], check=True)
    (tree / "usr/bin/sh").symlink_to("su")
    (tree / "srv").chmod(0o2775)
    os.chown(tree / "srv", 1234, 4321)
    os.mknod(tree / "srv/null", 0o020666, os.makedev(1, 3))
    return tree


@pytest.fixture
def disk(files: Path, tmp_path: Path) -> Path:
    """A disk with an EFI system partition, a /boot of its own, and a root."""
    raw, kernels = tmp_path / "disk.raw", tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "vmlinuz-1").write_text("kernel")
    with raw.open("wb") as file:
        file.truncate(48 << 20)
    subprocess.run(["sfdisk", "--quiet", raw], input=TABLE, text=True, check=True)
    for start, size, label, tree in ((20480, 20480, "kernels", kernels), (43008, 40960, "top", files)):
        place = f"offset={start * 512}"
        words = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", str(tree), "-E", place, str(raw)]
        subprocess.run([*words, f"{size // 2}k"], check=True)
    subprocess.run(["mformat", "-i", f"{raw}@@{2048 * 512}", "-T", "16384", "-v", "FIRMWARE", "::"], check=True)
    return raw


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_files_come_out_of_a_disk_as_they_were(disk: Path, files: Path, tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"image.{format_}"
    subprocess.run(["qemu-img", "convert", "-O", format_, disk, path], check=True)
    image = Artifact(driver="qemu", id=str(path), name="image", format=format_)
    work = WorkContext(cache=tmp_path / "cache")
    tree = base_trees.tree(image, work).path
    assert (tree / "usr/bin/su").stat().st_mode == (files / "usr/bin/su").stat().st_mode
    assert (tree / "usr/bin/su").stat().st_gid == 7
    assert (tree / "usr/bin/su").samefile(tree / "usr/bin/again")
    assert os.getxattr(tree / "usr/bin/ping", "security.capability")
    assert (tree / "usr/bin/sh").readlink() == Path("su")
    assert (tree / "srv").stat().st_mode & 0o7777 == 0o2775
    assert (tree / "srv").stat().st_uid == 1234
    assert (tree / "srv/null").is_char_device()
    assert (tree / "boot/vmlinuz-1").read_text() == "kernel"  # a file system of its own, there
    table = (tree / "etc/fstab").read_text().splitlines()
    assert table == [line for line in FSTAB.splitlines() if "/boot" not in line]  # the new disk has no such partitions
    assert base_trees.tree(image, work).path == tree  # from the cache, this time
    assert str(tmp_path) not in subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=True).stdout


def test_a_disk_without_a_root_is_refused_with_what_is_on_it(tmp_path: Path) -> None:
    raw = tmp_path / "data.raw"
    subprocess.run(["mke2fs", "-q", "-F", raw, "4M"], check=True)
    image = BaseDisk(path=raw, format="raw", key="data", login="nocloud")
    with pytest.raises(DriverError, match="no root file system") as caught:
        disk_to_tree.tree(image, WorkContext(cache=tmp_path / "cache"))
    assert "ext2" in caught.value.why
    assert not list(tmp_path.glob("cache/bases/*/tree"))


def test_an_image_that_was_changed_is_not_built_on(disk: Path, tmp_path: Path) -> None:
    image = Artifact(driver="qemu", id=str(disk), name="image", format="raw", sha256="0" * 64, size=disk.stat().st_size)
    assert [problem.what for problem in base_trees.check(image)] == ["the image image is gone or was changed"]
    with pytest.raises(DriverError, match="was changed"):
        base_trees.tree(image, WorkContext(cache=tmp_path / "cache"))


CHAIN = """
import bakery
from bakery.drivers import CloudImage, Debian, Nspawn, Qemu

@bakery.source
def first() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))

@bakery.task
def one(m):
    m.run("echo one >/root/one; chmod 600 /root/one; systemctl is-system-running --wait || true")

@bakery.image(sources=[first], tasks=[one], tests=[])
def golden(): ...

@bakery.source
def machine() -> Qemu:
    return Qemu(base=golden)

@bakery.task
def two(m):
    m.run("test -e /root/one && echo two >/root/two")

@bakery.image(sources=[machine], tasks=[two], tests=[])
def middle(): ...

@bakery.source
def container() -> Nspawn:
    return Nspawn(base=middle)

@bakery.task
def three(m):
    m.run("test -e /root/two && cat /root/one /root/two >/root/three")

@bakery.test
def all_three(host):
    assert host.file("/root/three").content_string == "one\\ntwo\\n"
    assert host.file("/root/one").mode == 0o600
    assert host.file("/usr/bin/su").mode == 0o4755

@bakery.image(sources=[container], tasks=[three], tests=[all_three])
def top(): ...
"""


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_containers_and_machines_stand_on_each_others_images(project: Project) -> None:
    project.write(CHAIN)
    done = project.bake("top", timeout=1700)
    clean(done, 0)
    ended = {event["build"]: event["outcome"] for event in project.events() if event["type"] == "build-ended"}
    assert ended == {"golden@first": "ok", "middle@machine": "ok", "top@container": "ok"}
    tests = {event["test"]: event["outcome"] for event in project.events() if event["type"] == "test-ended"}
    assert tests["all_three"] == "passed"
    clean(project.bake("top"), 0)
    ended = {event["build"]: event["outcome"] for event in project.events() if event["type"] == "build-ended"}
    assert set(ended.values()) == {"cached"}


@pytest.mark.all
@pytest.mark.timeout(1200)
def test_a_container_stands_on_a_cloud_image(project: Project, tmp_path: Path) -> None:
    """A disk of which nothing is known but that it takes its keys from cloud-init, as published images do."""
    project.write(
        CHAIN.replace("@bakery.image(sources=[first], tasks=[one], tests=[])", "@bakery.image(sources=[first])")
    )
    clean(project.bake("golden", "--no-test", timeout=600), 0)
    image = next((project.folder / ".bakery/images/first").glob("golden.*"))
    published = tmp_path / f"published{image.suffix}"
    image.rename(published)
    digest = subprocess.run(["sha256sum", published], capture_output=True, text=True, check=True).stdout.split()[0]
    base = CloudImage(f"file://{published}", f"sha256:{digest}")
    project.write(
        CHAIN.replace("base=middle", f"base={base!r}").replace(
            "test -e /root/two && cat /root/one /root/two", "printf 'one\\\\ntwo\\\\n'"
        )
    )
    clean(project.bake("top", timeout=1100), 0)
    tests = {event["test"]: event["outcome"] for event in project.events() if event["type"] == "test-ended"}
    assert tests["all_three"] == "passed"
