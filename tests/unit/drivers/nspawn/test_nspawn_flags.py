"""chattr(1)'s attributes of a machine's files: through a checkpoint, into the new machine, and onto the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.nspawn.apply_layer import apply
from bakery.drivers.nspawn.disk_to_tree import flagged
from bakery.drivers.nspawn.layer_flags import merged_flags
from bakery.drivers.nspawn.layers import Saver, plant
from bakery.util import inode_flags

NODUMP, NOATIME, IMMUTABLE = (inode_flags.LETTERS[letter] for letter in "dAi")


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Path]:
    """An upper layer as overlayfs leaves it: `i` and `a` in an extended attribute, the others on the file itself."""
    layer = tmp_path / "upper"
    (layer / "etc").mkdir(parents=True)
    file, folder = layer / "etc/resolv.conf", layer / "etc"
    file.write_text("nameserver 10.0.0.1\n")
    try:
        inode_flags.write(file, NODUMP)
        inode_flags.write(folder, NOATIME)
        os.setxattr(file, inode_flags.PROTECTED[0], b"i")
    except OSError:
        pytest.skip("only root can do this, on a file system that has such attributes")
    yield layer
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            inode_flags.write(path, 0)


def test_what_the_machine_saw_is_on_the_disk(upper: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    assert apply(upper, tree) == []
    assert inode_flags.read(tree / "etc/resolv.conf") == NODUMP | IMMUTABLE
    assert inode_flags.read(tree / "etc") == NOATIME
    with pytest.raises(PermissionError):
        (tree / "etc/resolv.conf").write_text("x")


def test_a_checkpoint_keeps_them_in_a_note_so_that_it_can_be_deleted(upper: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    groups = Saver().save(upper, saved)
    assert groups == [["etc"], ["etc/resolv.conf"]]
    assert inode_flags.in_layer(saved / "etc/resolv.conf") == NODUMP | IMMUTABLE
    (saved / "etc/resolv.conf").unlink()


def test_a_restored_machine_has_them_and_so_has_its_image(upper: Path, tmp_path: Path) -> None:
    saved, restored, tree = tmp_path / "saved", tmp_path / "restored", tmp_path / "tree"
    groups = Saver().save(upper, saved)
    restored.mkdir()
    tree.mkdir()
    plant(saved, groups, restored)
    assert os.getxattr(restored / "etc/resolv.conf", inode_flags.PROTECTED[0]) == b"i"
    again = Saver(below=saved).save(restored, tmp_path / "again")
    assert again == groups
    for layer in (saved, restored):
        assert apply(layer, tree) == []
    assert inode_flags.read(tree / "etc/resolv.conf") == NODUMP | IMMUTABLE
    assert inode_flags.NOTE not in os.listxattr(tree / "etc/resolv.conf")


def test_a_later_layer_replaces_and_removes_what_an_earlier_one_made_immutable(upper: Path, tmp_path: Path) -> None:
    tree, later = tmp_path / "tree", tmp_path / "later"
    tree.mkdir()
    (later / "etc").mkdir(parents=True)
    (later / "etc/resolv.conf").write_text("new\n")
    apply(upper, tree)
    assert apply(later, tree) == []
    assert (tree / "etc/resolv.conf").read_text() == "new\n"
    assert inode_flags.read(tree / "etc/resolv.conf") == 0
    assert inode_flags.read(tree / "etc") == 0


def test_what_a_disk_does_not_take_is_named(upper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int) -> None:
        if flags:
            raise OSError(f"{path}: {flags}")

    monkeypatch.setattr(inode_flags, "write", refuse)
    tree = tmp_path / "tree"
    tree.mkdir()
    assert apply(upper, tree) == ["A /etc", "id /etc/resolv.conf"]


def test_the_uppermost_layer_decides_and_what_hides_a_file_hides_its_attributes(upper: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    (later / "etc").mkdir(parents=True)
    assert merged_flags([upper]) == {"/etc": NOATIME, "/etc/resolv.conf": NODUMP | IMMUTABLE}
    (later / "etc/resolv.conf").write_text("new\n")
    assert merged_flags([later, upper]) == {"/etc": NOATIME}


def test_attributes_of_an_images_files_are_read_out_of_a_listing() -> None:
    listing = (
        "--------------e------- .\n----i---------e------- ./etc/motd\n-------A------e------- ./srv/a b\nlsattr: x\n"
    )
    assert flagged(listing) == ["A /srv/a b", "i /etc/motd"]
