"""Saved layers: whole, and sharing what has not changed. What only the kernel can make is in the live tests."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from bakery.drivers.nspawn.layers import MARGIN, Saver, link_tree, plant


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    folder = tmp_path / "upper"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/hosts").write_text("one\n")
    return folder


def later() -> int:
    """A moment after all that was written so far."""
    return time.time_ns() + 2 * MARGIN


def test_a_first_layer_is_a_copy_with_modes_links_and_times(upper: Path, tmp_path: Path) -> None:
    (upper / "etc/shadow").write_text("x")
    (upper / "etc/shadow").chmod(0o640)
    (upper / "etc/link").symlink_to("hosts")
    (upper / "etc/twin").hardlink_to(upper / "etc/hosts")
    Saver().save(upper, tmp_path / "a")
    saved = tmp_path / "a/etc"
    assert (saved / "shadow").stat().st_mode == (upper / "etc/shadow").stat().st_mode
    assert (saved / "link").readlink() == Path("hosts")
    assert (saved / "twin").samefile(saved / "hosts")
    assert saved.stat().st_mtime_ns == (upper / "etc").stat().st_mtime_ns


def test_the_machines_file_and_the_saved_one_are_not_the_same(upper: Path, tmp_path: Path) -> None:
    Saver().save(upper, tmp_path / "a")
    with (upper / "etc/hosts").open("a") as file:
        file.write("two\n")
    assert (tmp_path / "a/etc/hosts").read_text() == "one\n"


def test_a_file_that_did_not_change_is_stored_once(upper: Path, tmp_path: Path) -> None:
    Saver().save(upper, tmp_path / "a")
    Saver(earlier=tmp_path / "a", since=later()).save(upper, tmp_path / "b")
    assert (tmp_path / "b/etc/hosts").samefile(tmp_path / "a/etc/hosts")


def test_a_file_that_changed_since_is_copied_even_if_it_looks_the_same(upper: Path, tmp_path: Path) -> None:
    Saver().save(upper, tmp_path / "a")
    since = time.time_ns()
    before = (upper / "etc/hosts").stat()
    (upper / "etc/hosts").write_text("two\n")
    os.utime(upper / "etc/hosts", ns=(before.st_atime_ns, before.st_mtime_ns))
    Saver(earlier=tmp_path / "a", since=since).save(upper, tmp_path / "b")
    assert (tmp_path / "b/etc/hosts").read_text() == "two\n"


def test_a_file_that_is_gone_is_not_saved_again(upper: Path, tmp_path: Path) -> None:
    Saver().save(upper, tmp_path / "a")
    (upper / "etc/hosts").unlink()
    Saver(earlier=tmp_path / "a", since=later()).save(upper, tmp_path / "b")
    assert list((tmp_path / "b/etc").iterdir()) == []


def test_on_a_restored_machine_both_layers_become_one(upper: Path, tmp_path: Path) -> None:
    below = tmp_path / "below"
    (below / "etc").mkdir(parents=True)
    (below / "etc/hosts").write_text("old\n")
    (below / "etc/motd").write_text("hello\n")
    (below / "opt/app").mkdir(parents=True)
    Saver(below=below).save(upper, tmp_path / "a")
    assert (tmp_path / "a/etc/hosts").read_text() == "one\n"
    assert (tmp_path / "a/etc/motd").samefile(below / "etc/motd")
    assert (tmp_path / "a/opt/app").is_dir()


def test_a_parent_layer_that_vanishes_takes_nothing_with_it(upper: Path, tmp_path: Path) -> None:
    Saver().save(upper, tmp_path / "a")
    link_tree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a/etc/hosts").unlink()
    assert (tmp_path / "b/etc/hosts").read_text() == "one\n"


def test_a_file_with_several_names_keeps_them_on_a_restored_machine(upper: Path, tmp_path: Path) -> None:
    (upper / "opt").mkdir(mode=0o750)
    (upper / "opt/twin").hardlink_to(upper / "etc/hosts")
    names = Saver().save(upper, tmp_path / "a")
    assert [sorted(group) for group in names] == [["etc/hosts", "opt/twin"]]
    new = tmp_path / "new"
    new.mkdir()
    plant(tmp_path / "a", names, new)
    (new / "opt/twin").write_text("two\n")
    assert (new / "etc/hosts").read_text() == "two\n"
    assert (tmp_path / "a/etc/hosts").read_text() == "one\n"
    assert (new / "opt").stat().st_mode == (upper / "opt").stat().st_mode


def test_sockets_are_left_behind(upper: Path, tmp_path: Path) -> None:
    os.mknod(upper / "socket", 0o600 | stat.S_IFSOCK)
    Saver().save(upper, tmp_path / "a")
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["etc"]
