"""GRUB's sectors, the partition table, grub.cfg and fstab: what decides whether a disk boots."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from bakery.disk import bootfiles
from bakery.disk.fingerprint import fingerprint
from bakery.disk.grub import boot_sector, core_image, early_config
from bakery.disk.layout import MIB, Layout
from bakery.errors import DriverError
from bakery.events import Event, Notice
from bakery.util.context import WorkContext

LAYOUT = Layout(size=3 << 30, identity=UUID(int=7))
BOOT = bytes(range(256)) + bytes(254) + b"\x55\xaa"


def test_the_boot_sector_loads_the_core_and_keeps_the_disks_own_table() -> None:
    mbr = bytes([0xEE]) * 510 + b"\x55\xaa"
    sector = boot_sector(BOOT, mbr, LAYOUT.bios.sector)
    assert struct.unpack_from("<Q", sector, 0x5C) == (2048,)
    assert sector[0x66:0x68] == b"\x90\x90"
    assert sector[:3] == BOOT[:3]
    assert sector[0x03:0x5A] == mbr[0x03:0x5A]
    assert sector[0x1B8:] == mbr[0x1B8:]


@pytest.mark.parametrize("boot", [b"", bytes(512), BOOT + b"x"])
def test_what_is_no_boot_sector_is_refused(boot: bytes) -> None:
    with pytest.raises(DriverError, match="boot sector"):
        boot_sector(boot, bytes(512), 2048)


def test_the_core_image_knows_where_its_rest_is() -> None:
    core = bytearray(512 * 3 + 100)
    struct.pack_into("<QH", core, 500, 1, 3)
    assert struct.unpack_from("<QH", core_image(bytes(core), 2048), 500) == (2049, 3)


def test_a_core_image_of_another_shape_is_refused() -> None:
    with pytest.raises(DriverError, match=r"core\.img"):
        core_image(bytes(512 * 3), 2048)


def test_the_partitions_touch_but_do_not_overlap_and_root_is_last() -> None:
    parts = sorted((LAYOUT.bios, LAYOUT.esp, LAYOUT.root), key=lambda part: part.start)
    assert parts[-1] is not LAYOUT.bios
    assert parts[-1].name == "root"
    assert all(one.start + one.size == two.start for one, two in pairwise(parts))
    assert LAYOUT.root.start + LAYOUT.root.size == LAYOUT.size - MIB
    assert "1 : start=131072, size=" in LAYOUT.script()


def test_one_identity_gives_one_disk_and_another_one_another() -> None:
    assert Layout(size=3 << 30, identity=UUID(int=7)).script() == LAYOUT.script()
    assert Layout(size=3 << 30, identity=UUID(int=8)).uuid("root-fs") != LAYOUT.uuid("root-fs")
    assert str(LAYOUT.uuid("root-fs")) in early_config(LAYOUT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("boot", "etc/default/grub.d"):
        (tmp_path / folder).mkdir(parents=True)
    for release in ("6.1.0-9-amd64", "6.1.0-10-amd64", "5.10.0-30-amd64"):
        (tmp_path / "boot" / f"vmlinuz-{release}").touch()
        (tmp_path / "boot" / f"initrd.img-{release}").touch()
    return tmp_path


def test_the_newest_kernel_is_first(tree: Path) -> None:
    assert bootfiles.kernels(tree) == ["6.1.0-10-amd64", "6.1.0-9-amd64", "5.10.0-30-amd64"]


def test_a_tree_that_cannot_boot_says_why(tree: Path, tmp_path: Path) -> None:
    (tree / "boot/initrd.img-6.1.0-9-amd64").unlink()
    with pytest.raises(DriverError, match="no initramfs"):
        bootfiles.kernels(tree)
    with pytest.raises(DriverError, match="no kernel"):
        bootfiles.kernels(tmp_path / "etc")


def test_the_kernels_arguments_are_those_of_the_trees_grub_settings(tree: Path) -> None:
    assert bootfiles.kernel_line(tree) == bootfiles.CONSOLES
    (tree / "etc/default/grub").write_text('GRUB_CMDLINE_LINUX=""\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    (tree / "etc/default/grub.d/50.cfg").write_text("GRUB_CMDLINE_LINUX='console=ttyS0'\n")
    (tree / "etc/default/grub.d/60.cfg").write_text('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX panic=5"  \n')
    assert bootfiles.kernel_line(tree) == "console=ttyS0 panic=5 quiet"


def test_settings_that_need_a_shell_are_named_where_they_are_about_the_kernels_arguments(tree: Path) -> None:
    told: list[Event] = []
    (tree / "etc/default/grub").write_text("GRUB_DISTRIBUTOR=`lsb_release -i`\nGRUB_CMDLINE_LINUX=$(cat /x)\n")
    bootfiles.tell_unread(tree, WorkContext(cache=tree, emit=told.append))
    (notice,) = told
    assert isinstance(notice, Notice)
    assert "/etc/default/grub:2: GRUB_CMDLINE_LINUX=$(cat /x)" in notice.message


def test_grub_cfg_boots_the_first_kernel_at_once() -> None:
    text = bootfiles.grub_cfg(LAYOUT, ["6.1", "5.10"], "quiet")
    uuid = LAYOUT.uuid("root-fs")
    assert text.startswith("set timeout=0\n")
    assert text.index(f"linux /boot/vmlinuz-6.1 root=UUID={uuid} ro quiet") < text.index("vmlinuz-5.10")


def test_fstab_gets_our_root_and_keeps_everything_else() -> None:
    other = "/dev/sda1 / ext3 defaults 0 1\n# a remark\ntmpfs /tmp tmpfs size=1G 0 0\n"
    assert bootfiles.fstab(other) == f"{bootfiles.FSTAB}# a remark\ntmpfs /tmp tmpfs size=1G 0 0\n"
    own = "LABEL=root / ext4 noatime 0 1\n"
    assert bootfiles.fstab(own) == own
    assert bootfiles.fstab("") == bootfiles.FSTAB


def test_a_fingerprint_is_of_the_content_not_of_the_holes(tmp_path: Path) -> None:
    work = WorkContext(cache=tmp_path)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 * MIB + 3)
        file.seek(2 * MIB + 7)
        file.write(b"data")
    (tmp_path / "full").write_bytes((tmp_path / "sparse").read_bytes())
    before = fingerprint(tmp_path / "sparse", work)
    assert before == fingerprint(tmp_path / "full", work)
    with (tmp_path / "full").open("r+b") as file:
        file.seek(4 * MIB)
        file.write(b"x")
    assert before != fingerprint(tmp_path / "full", work)
    (tmp_path / "longer").write_bytes((tmp_path / "sparse").read_bytes() + bytes(1))
    assert before != fingerprint(tmp_path / "longer", work)
