"""The rule that Make reads: which files it names, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.build.makefile import escaped, is_rule, near, prerequisites, rule
from bakery.cache.inputs.external import LocalInput

STRANGE = ["two words", "$HOME", "#1", "a:b", "tab\there", "new\nline", "100%", "a=b", "ends\\", "~root", "a\\ b"]


def test_a_rule_has_an_empty_one_for_each_name_so_that_a_deleted_file_is_no_error() -> None:
    assert rule(["web.qcow2"], ["b", "a"]) == "web.qcow2: a \\\n  b\n\na:\n\nb:\n"


def test_a_target_that_is_named_twice_is_written_once() -> None:
    assert rule(["web", "web", "./web"], []) == "web ./web: \n"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("two words", "two\\ words"),
        ("#1", "\\#1"),
        ("a:b", "a\\:b"),
        ("$HOME", "$$HOME"),
        ("a\\ b", "a\\\\\\ b"),
        ("100%", "100?"),
        ("new\nline", "new?line"),
        ("ends\\", "ends?"),
        ("~root", "?root"),
        ("it's~", "it's~"),
        ("include", "./include"),
        (".PHONY", "./.PHONY"),
        (".config", ".config"),
        ("includes", "includes"),
        ("export a", "./export\\ a"),
    ],
)
def test_what_means_something_to_make_is_escaped_or_matched(name: str, written: str) -> None:
    assert escaped(name) == written


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_written_is_known_as_ours(name: str) -> None:
    assert is_rule(rule([name], [name, "imagefile.py"]))


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("", True),
        ("\n\n", False),
        ("web: \n", True),
        ("all: web.qcow2\n\tbake\n", False),
        ("a = b\n", False),
        ("a: b\n\nc:\n", False),
        ('"""Images."""\n\nimport bakery\n', False),
    ],
)
def test_what_somebody_else_wrote_is_not(text: str, ours: bool) -> None:
    assert is_rule(text) is ours


def test_a_tree_is_its_folders_and_its_files(tmp_path: Path) -> None:
    (tmp_path / "conf/sub").mkdir(parents=True)
    (tmp_path / "conf/sub/a").touch()
    found = prerequisites([LocalInput("tree", tmp_path / "conf")], [])
    assert found == {tmp_path / "conf", tmp_path / "conf/sub", tmp_path / "conf/sub/a"}


def test_a_listing_is_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert prerequisites([LocalInput("listing", tmp_path)], []) == {tmp_path}


def test_what_is_not_there_is_told_by_the_folder_in_which_it_would_be(tmp_path: Path) -> None:
    assert prerequisites([LocalInput("file", tmp_path / "a/b/c")], []) == {tmp_path}


def test_a_link_on_the_way_is_told_by_its_folder_too(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / "versions" / version).mkdir(parents=True)
        (tmp_path / "versions" / version / "site.conf").write_text(version)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "current").symlink_to("../versions/one")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "site.conf").symlink_to("../links/current/site.conf")
    inside, link = tmp_path / "links" / "current" / "site.conf", tmp_path / "files" / "site.conf"
    assert prerequisites([LocalInput("file", inside)], []) == {inside, tmp_path / "links"}
    assert prerequisites([LocalInput("file", link)], []) == {link, tmp_path / "files", tmp_path / "links"}


def test_what_make_takes_for_a_member_of_an_archive_is_told_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a copy (1)").touch()
    assert prerequisites([LocalInput("file", tmp_path / "a copy (1)")], []) == {tmp_path}


def test_what_we_write_ourselves_is_nothing_that_an_image_depends_on(tmp_path: Path) -> None:
    (tmp_path / ".bakery/runs").mkdir(parents=True)
    for name in (".bakery/runs/x", "web.qcow2", "a.conf"):
        (tmp_path / name).touch()
    inputs = [LocalInput("tree", tmp_path)]
    assert prerequisites(inputs, [tmp_path / ".bakery", tmp_path / "web.qcow2"]) == {tmp_path, tmp_path / "a.conf"}


def test_a_path_is_relative_where_it_is_below_and_absolute_elsewhere() -> None:
    assert near(Path("/p/a/b"), Path("/p")) == "a/b"
    assert near(Path("/elsewhere/b"), Path("/p")) == "/elsewhere/b"
