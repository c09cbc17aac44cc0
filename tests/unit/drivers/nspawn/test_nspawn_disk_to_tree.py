"""The files of a disk, copied out once: which file systems are read, what is kept of them, and when they are anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bakery.disk import build
from bakery.disk.bases.base import BaseDisk
from bakery.drivers.nspawn import disk_to_tree
from bakery.drivers.nspawn.disk_to_tree import READY, check, flagged, tree
from bakery.errors import DriverError
from bakery.events import Event, Notice
from bakery.util.context import WorkContext
from tests.unit.fake_tools import FakeTools

FSTAB = "UUID=root / ext4 defaults 0 1\nLABEL=data /srv xfs defaults 0 2\nUUID=efi /boot/efi vfat umask=77 0 1\n"


@dataclass
class Disk:
    """A disk with partitions, and the tools that read it."""

    path: Path
    tools: FakeTools
    kinds: dict[int, dict[str, str]]
    fstab: str = FSTAB
    rootless: set[int] = field(default_factory=set[int])
    listing: str = ""
    mounted: list[str] = field(default_factory=list[str])
    events: list[Event] = field(default_factory=list[Event])

    def __post_init__(self) -> None:
        """Answer the tools."""
        self.path.write_bytes(b"a disk")
        self.tools.answer("sfdisk --json *", self._table).answer("blkid *", self._probe)
        self.tools.answer('*cat "$4/etc/fstab"*', self._look).answer("*cp --archive*", self._copy)
        self.tools.answer("rm *", _remove)

    def _table(self, _: list[str]) -> bytes:
        parts = [
            {"node": f"{self.path}{number}", "start": number * 100, "size": 1000 - number} for number in self.kinds
        ]
        return json.dumps({"partitiontable": {"sectorsize": 512, "partitions": parts}}).encode()

    def _probe(self, words: list[str]) -> bytes:
        number = int(words[words.index("--offset") + 1]) // 51200
        return "".join(f"{name}={value}\n" for name, value in self.kinds[number].items()).encode()

    def _look(self, words: list[str]) -> bytes:
        kind, options, _, _ = words[-4:]
        number = int(options.partition("offset=")[2].partition(",")[0]) // 51200
        if number in self.rootless:
            raise DriverError("looking for files failed")
        assert kind == self.kinds[number]["TYPE"]
        return self.fstab.encode()

    def _copy(self, words: list[str]) -> bytes:
        at = words.index("sh", words.index("-c") + 2)
        files, _, *mounts = words[at + 1 :]
        self.mounted = [" ".join(mounts[at : at + 4]) for at in range(0, len(mounts), 4)]
        (Path(files) / "etc").mkdir()
        (Path(files) / "etc/fstab").write_text(self.fstab)
        return self.listing.encode()

    def tree(self, folder: Path) -> Path:
        """Copy it out, or find it."""
        disk = BaseDisk(path=self.path, format="raw", key="sha256:0123", login="nocloud")
        return tree(disk, WorkContext(cache=folder, emit=self.events.append)).path

    @property
    def copies(self) -> int:
        """How often its files were copied."""
        return sum("cp --archive" in line for line in self.tools.lines)

    @property
    def notices(self) -> list[str]:
        """What the user was told."""
        return [event.message for event in self.events if isinstance(event, Notice)]


def _remove(words: list[str]) -> None:
    shutil.rmtree(words[-1], ignore_errors=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk with a root, a data partition, and two that no container needs."""
    for name in ("root", "alone"):
        monkeypatch.setattr(disk_to_tree, name, lambda: ())
    monkeypatch.setattr(build, "root", lambda: ())
    monkeypatch.setattr(disk_to_tree, "missing", lambda _: ())
    monkeypatch.setattr("bakery.disk.inspect.tools.find", lambda tool: tool)
    kinds = {
        1: {"TYPE": "ext4", "UUID": "root"},
        2: {"TYPE": "xfs", "LABEL": "data"},
        3: {"TYPE": "vfat", "UUID": "efi"},
        4: {"TYPE": "swap", "UUID": "swap"},
    }
    return Disk(tmp_path / "disk.raw", FakeTools.install(monkeypatch, disk_to_tree, build), kinds)


def test_the_root_and_what_its_fstab_puts_into_it_are_mounted_for_nobody_to_write_to(
    disk: Disk, tmp_path: Path
) -> None:
    disk.tree(tmp_path / "cache")
    root, data = disk.mounted
    assert root == f"ext4 ro,loop,offset=51200,sizelimit=511488,noload {disk.path} "
    assert data == f"xfs ro,loop,offset=102400,sizelimit=510976,norecovery,nouuid {disk.path} /srv"


def test_partitions_that_the_new_disk_will_not_have_are_out_of_its_fstab(disk: Disk, tmp_path: Path) -> None:
    disk.fstab += "UUID=swap none swap sw 0 0\n# a comment\ntmpfs /tmp tmpfs defaults 0 0\n"
    files = disk.tree(tmp_path / "cache")
    assert (files / "etc/fstab").read_text() == (
        "UUID=root / ext4 defaults 0 1\n# a comment\ntmpfs /tmp tmpfs defaults 0 0\n"
    )


def test_a_second_build_finds_the_files(disk: Disk, tmp_path: Path) -> None:
    assert disk.tree(tmp_path / "cache") == disk.tree(tmp_path / "cache")
    assert disk.copies == 1


def change(folder: Path) -> None:
    (folder / "tree/etc").chmod(0o700)


def damage(folder: Path) -> None:
    (folder / READY).write_text("{")


@pytest.mark.parametrize(("harm", "told"), [(change, True), (damage, True), (lambda f: (f / READY).unlink(), False)])
def test_files_that_were_changed_or_whose_copy_was_killed_are_copied_anew(
    disk: Disk, tmp_path: Path, harm: Callable[[Path], None], told: bool
) -> None:
    folder = disk.tree(tmp_path / "cache").parent
    harm(folder)
    disk.tree(tmp_path / "cache")
    assert disk.copies == 2
    assert any("were changed; they are copied anew" in notice for notice in disk.notices) == told


def test_files_that_an_older_bakery_copied_are_taken_as_they_are(disk: Disk, tmp_path: Path) -> None:
    folder = disk.tree(tmp_path / "cache").parent
    (folder / READY).write_text(json.dumps({"key": "sha256:0123"}))
    disk.tree(tmp_path / "cache")
    assert disk.copies == 1


def test_attributes_that_cp_does_not_copy_are_named_at_every_build(disk: Disk, tmp_path: Path) -> None:
    disk.listing = "----i---------e------- ./etc/motd\n--------------e------- ./etc\n"
    for _ in range(2):
        disk.tree(tmp_path / "cache")
    assert [notice for notice in disk.notices if "attributes" in notice] == [
        "file attributes are not in the image: i /etc/motd"
    ] * 2


def test_a_copy_that_fails_leaves_nothing_that_the_next_build_would_take_for_it(disk: Disk, tmp_path: Path) -> None:
    disk.tools.answer("*cp --archive*", DriverError("no space"))
    with pytest.raises(DriverError, match="no space"):
        disk.tree(tmp_path / "cache")
    (folder,) = (tmp_path / "cache/bases").iterdir()
    assert not (folder / "tree").exists()
    assert not (folder / READY).exists()


def test_the_largest_partition_with_files_of_a_system_is_the_root(disk: Disk, tmp_path: Path) -> None:
    disk.rootless = {1}
    disk.kinds[2] = {"TYPE": "ext4", "UUID": "root"}
    disk.tree(tmp_path / "cache")
    assert [mount.split()[1].split(",")[2] for mount in disk.mounted] == ["offset=102400"]


def test_a_disk_without_a_root_that_is_read_here_says_what_is_on_it(disk: Disk, tmp_path: Path) -> None:
    disk.rootless = {1, 2}
    with pytest.raises(DriverError, match=r"disk.raw has no root file system") as raised:
        disk.tree(tmp_path / "cache")
    assert raised.value.why.startswith("there are: ext4, swap, vfat, xfs; read are: ext2, ext3, ext4, xfs")
    assert raised.value.hint == "build on this image with Qemu"


def test_whoever_is_not_root_is_told_so_before_anything_is_read(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_to_tree, "root", lambda: ("unshare",))
    assert [problem.what for problem in check()] == ["only root can build in a container on an image"]
    with pytest.raises(DriverError, match="only root can build"):
        disk.tree(tmp_path / "cache")
    assert disk.tools.ran == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("----i---------e------- ./etc/motd", ["i /etc/motd"]),
        ("s---ia--------e------- .", ["sia /"]),
        ("--------------e------- ./etc", []),
        ("lsattr: Operation not supported While reading flags", []),
        ("", []),
        ("----i---------e------- ./a name with spaces", ["i /a name with spaces"]),
    ],
)
def test_attributes_are_read_as_lsattr_writes_them(line: str, found: list[str]) -> None:
    assert flagged(line) == found
