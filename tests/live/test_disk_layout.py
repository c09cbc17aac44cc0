"""Partitions of one's own, baked as a user does: made, filled, kept in the image, there on a machine of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bakery.disk import qemuimg
from bakery.disk.reserve import reserve
from bakery.drivers import Disk, Partition, Volume
from bakery.errors import DriverError
from bakery.state.project import cache_folder
from bakery.util.context import WorkContext
from tests.live.baking import Project, clean, shared

pytestmark = pytest.mark.live
SECRET = "correct-horse-battery"
IMAGEFILE = """
import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Disk, Partition, Qemu, Volume


@bakery.variables
class Vars:
    vault: bakery.Secret = bakery.secret(env="VAULT")


@bakery.source
def laptop() -> Qemu:
    base = Debian("bookworm", packages=("xfsprogs", "btrfs-progs", "lvm2", "cryptsetup"))
    layout = [
        Partition("512M", mount="/srv", filesystem="xfs", options="noatime"),
        Partition("256M", filesystem="swap"),
        Partition("512M", name="store", volumes=[
            Volume("128M", mount="/var/log"),
            Volume(mount="/var/lib/data", filesystem="btrfs"),
        ]),
        Partition("128M", mount="/vault", encrypted_by="vault"),
    ]
    return Qemu(base=base, memory="1G", disk=Disk("6G", layout=layout), disks=[
        Disk("1G", layout=[Partition("512M", mount="/data", options="defaults,nofail")]),
        Disk("64M"),
    ])


@bakery.task
def fill(m: Machine) -> None:
    for place in ("/srv", "/var/log", "/var/lib/data", "/vault", "/data"):
        assert m.run(["findmnt", "-n", place], hide=True).ok
        m.run(["touch", f"{place}/here"])
    m.run("echo raw > /dev/disk/by-id/virtio-disk3 && sync")
    assert m.run("ls -A / | grep -c '^srv$'", hide=True).ok


@bakery.test
def everything_is_mounted(host: Host) -> None:
    assert host.mount_point("/srv").filesystem == "xfs"
    assert "noatime" in host.mount_point("/srv").options
    assert host.mount_point("/var/log").filesystem == "ext4"
    assert host.mount_point("/var/lib/data").filesystem == "btrfs"
    for place in ("/srv", "/var/lib/data", "/data"):
        assert host.file(f"{place}/here").exists
    assert host.check_output("lsblk -dno SERIAL $(findmnt -no SOURCE /data | sed s/1$//)") == "disk2"
    assert host.check_output("head -c 3 /dev/disk/by-id/virtio-disk3") == "raw"
    assert "partition" in host.check_output("swapon --show=TYPE --noheadings")


@bakery.test
def the_vault_is_closed_until_somebody_opens_it(host: Host) -> None:
    assert not host.mount_point("/vault").exists
    assert not host.file("/vault/here").exists
    device = host.check_output("blkid --match-token PARTLABEL=vault --output device")
    assert host.run("cryptsetup isLuks %s", device).rc == 0
    assert "luks,noauto" in host.file("/etc/crypttab").content_string
"""


@pytest.fixture
def place(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", shared(cache_folder(os.environ), tmp_path / "cache"), {"VAULT": SECRET})


@pytest.mark.all
@pytest.mark.timeout(3600)
def test_a_layout_is_made_and_kept_in_the_image(place: Project) -> None:
    place.write(IMAGEFILE)
    done = place.bake("build", "--no-cache", timeout=3500)
    told = clean(done, 0)
    assert SECRET not in told + done.out
    (image,) = place.images()
    raw = place.folder / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", image["id"], raw], check=True)
    table = subprocess.run(["/usr/sbin/sfdisk", "-d", raw], check=True, capture_output=True, text=True).stdout
    assert [name in table for name in ('name="srv"', 'name="swap"', 'name="store"', 'name="vault"')] == [True] * 4
    second = Path(image["id"]).with_suffix(".disk2.qcow2")
    assert [disk["name"] for disk in image["data"]["disks"]] == ["disk2", "disk3"]
    assert second.stat().st_size == image["data"]["disks"][0]["size"]
    assert SECRET.encode() not in raw.read_bytes()
    assert not [thing for thing in place.left() if ".bakery/images" not in thing]


def base(folder: Path, script: bytes) -> tuple[Path, WorkContext]:
    disk, work = folder / "base.raw", WorkContext(cache=folder)
    with disk.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run(["/usr/sbin/sfdisk", "-q", disk], input=script, check=True)
    overlay = folder / "a disk.qcow2"
    qemuimg.overlay(overlay, base=disk, format="raw", size=2 << 30, work=work)
    return overlay, work


def test_partitions_stand_at_the_end_and_both_copies_of_the_table_are_right(tmp_path: Path) -> None:
    overlay, work = base(tmp_path, b"label: gpt\nstart=2048,size=900000,name=root\n")
    layout = [Partition("64M", filesystem="swap"), Partition("256M", name="vg", volumes=[Volume(mount="/a")])]
    reserve(overlay, 2 << 30, Disk("2G", layout).layout, work)
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", overlay, raw], check=True)
    words = ["/usr/sbin/sgdisk", "--verify", "--print", str(raw)]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "No problems found" in told
    assert [line.split()[-1] for line in told.splitlines() if line.strip()[:1].isdigit()] == ["root", "swap", "vg"]
    lines = subprocess.run(["/usr/sbin/sfdisk", "-d", raw], check=True, capture_output=True, text=True).stdout
    last = next(line for line in lines.splitlines() if 'name="vg"' in line)
    start, size = (int(last.split(f"{word}=")[1].split(",")[0]) for word in ("start", "size"))
    assert (start + size) * 512 == (2 << 30) - (1 << 20)
    with pytest.raises(DriverError, match="no room"):
        reserve(overlay, 2 << 30, [Partition("1700M")], work)


def test_a_base_without_a_gpt_is_refused(tmp_path: Path) -> None:
    overlay, work = base(tmp_path, b"label: dos\nstart=2048,size=900000\n")
    with pytest.raises(DriverError, match="has no GPT"):
        reserve(overlay, 2 << 30, [Partition("64M")], work)
