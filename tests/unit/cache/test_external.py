"""What a step took from outside its code: each kind as it is now, what changes it and what does not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.cache.inputs.digest import Keyed, of_file, of_json
from bakery.cache.inputs.external import FOLDER, MISSING, Input, Kind, OnDisk, World, look
from bakery.redaction.secret import Secret

KEYED = Keyed(b"key")


@dataclass
class Vars:
    """Variables of a build."""

    workers: int = 4
    greeting: str = "hello"
    names: tuple[str, ...] = ("a",)
    password: Secret = Secret("hunter22", "password")  # noqa: RUF009  it never changes
    api_key: str = "k3y"


def world(root: Path, variables: object = None, **environ: str) -> World:
    return World(root=root, keyed=KEYED, variables=variables, environ=environ)


def settle(path: Path) -> None:
    """Make something as old as it must be to be believed."""
    for each in (*path.rglob("*"), path) if path.is_dir() else (path,):
        if not each.is_symlink():
            os.utime(each, (1e9, 1e9))


# ---- written and read back ------------------------------------------------------------------------------------------

texts = st.text(max_size=10)


@settings(max_examples=40)
@given(
    st.builds(
        Input,
        kind=st.sampled_from(get_args(Kind)[1:]),
        name=texts,
        digest=texts,
        shown=texts,
        look=st.lists(st.integers(0, 1 << 62), max_size=4).map(tuple),
    )
)
def test_an_input_is_read_back_as_it_was_written(item: Input) -> None:
    assert Input.from_json(json.loads(json.dumps(item.to_json()))) == item


@pytest.mark.parametrize(
    ("path", "name"), [("/project/a", "a"), ("/project/a/b", "a/b"), ("/project", "."), ("/projects/a", "/projects/a")]
)
def test_a_path_in_the_project_has_one_name_in_every_checkout(path: str, name: str) -> None:
    assert world(Path("/project")).name_of(Path(path)) == name


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    first = world(tmp_path).now("file", "a")
    assert (first.kind, first.name, first.digest) == ("file", "a", of_file(tmp_path / "a"))
    os.utime(tmp_path / "a", (1e9, 1e9))
    (tmp_path / "a").chmod(0o600)
    assert world(tmp_path).now("file", "a").digest == first.digest
    (tmp_path / "a").write_text("two")
    assert world(tmp_path).now("file", "a").digest != first.digest


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize(
    ("make", "digest"),
    [
        (lambda _: None, MISSING),
        (Path.mkdir, FOLDER),
        (make_dangling, MISSING),
        (make_pipe, "special 10000"),
        (make_loop, "unreadable 40"),
    ],
    ids=["nothing", "a folder", "a link to nothing", "a pipe", "a link to itself"],
)
def test_what_is_no_file_is_said_to_be_that(tmp_path: Path, make: Callable[[Path], Any], digest: str) -> None:
    make(tmp_path / "a")
    assert world(tmp_path).now("file", "a").digest == digest


def test_a_file_that_looks_the_same_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("one")
    monkeypatch.setattr(time, "time_ns", lambda: 1 << 62)  # long after
    known = world(tmp_path).now("file", "a")
    assert known.look
    believed = Input("file", "a", "a digest that is taken over", look=known.look)
    assert world(tmp_path).now("file", "a", believed) is believed
    (tmp_path / "a").write_text("two, longer")
    assert world(tmp_path).now("file", "a", believed).digest == of_file(tmp_path / "a")


def test_a_file_that_changed_a_moment_ago_is_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    assert look(tmp_path / "a") == ()
    believed = Input("file", "a", "a digest", look=())
    assert world(tmp_path).now("file", "a", believed).digest == of_file(tmp_path / "a")


# ---- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with some of each in it."""
    root = tmp_path / "site"
    (root / "css").mkdir(parents=True)
    (root / "index.html").write_text("<h1>")
    (root / "css/a.css").write_text("a {}")
    (root / "latest").symlink_to("index.html")
    return root


def point_elsewhere(root: Path) -> None:
    (root / "latest").unlink()
    (root / "latest").symlink_to("css/a.css")


def put_a_file_there(root: Path) -> None:
    (root / "css/a.css").unlink()
    (root / "css").rmdir()
    (root / "css").touch()


CHANGES: dict[str, tuple[Callable[[Path], Any], bool, bool]] = {
    "nothing": (lambda _: None, False, False),
    "a date": (lambda root: os.utime(root / "index.html", (1e9, 1e9)), False, False),
    "a content": (lambda root: (root / "index.html").write_text("<h2>"), True, False),
    "a content below": (lambda root: (root / "css/a.css").write_text("b {}"), True, False),
    "a mode": (lambda root: (root / "index.html").chmod(0o755), True, False),
    "a folder's mode": (lambda root: (root / "css").chmod(0o700), True, False),
    "a name": (lambda root: (root / "index.html").rename(root / "index.htm"), True, True),
    "a new file": (lambda root: (root / "new").touch(), True, True),
    "a new file below": (lambda root: (root / "css/new").touch(), True, False),
    "a new folder": (lambda root: (root / "new").mkdir(), True, True),
    "a file less": (lambda root: (root / "index.html").unlink(), True, True),
    "a link's target": (point_elsewhere, True, False),
    "a file in a folder's place": (put_a_file_there, True, True),
}
"""What changes a folder that is copied, and what changes the list of its names."""


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["tree", "listing"])
def test_a_folder_is_all_that_reaches_a_machine_and_a_listing_its_names(tree: Path, change: str, kind: OnDisk) -> None:
    here = world(tree.parent)
    before = here.now(kind, "site").digest
    do, changes_tree, changes_listing = CHANGES[change]
    do(tree)
    assert (here.now(kind, "site").digest != before) == (changes_tree if kind == "tree" else changes_listing)


@pytest.mark.parametrize("kind", ["tree", "listing"])
def test_a_folder_that_is_gone_is_missing(tmp_path: Path, kind: OnDisk) -> None:
    assert world(tmp_path).now(kind, "nothing").digest == MISSING


def test_one_file_can_be_copied_as_a_tree(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    before = world(tmp_path).now("tree", "a").digest
    (tmp_path / "a").chmod(0o755)
    assert world(tmp_path).now("tree", "a").digest != before


def test_two_checkouts_of_one_folder_are_the_same(tree: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "elsewhere"
    shutil.copytree(tree, other / "site", symlinks=True)
    assert world(other).now("tree", "site").digest == world(tree.parent).now("tree", "site").digest


def test_a_tree_that_looks_the_same_is_not_read_again_unless_it_has_links(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(tree.parent)
    monkeypatch.setattr(time, "time_ns", lambda: 1 << 62)
    assert here.now("tree", "site").look == ()
    (tree / "latest").unlink()
    known = here.now("tree", "site")
    assert known.look
    believed = Input("tree", "site", "a digest that is taken over", look=known.look)
    assert here.now("tree", "site", believed) is believed
    (tree / "css/new").touch()
    assert here.now("tree", "site", believed) is not believed


# ---- the environment and variables ----------------------------------------------------------------------------------


def test_an_environment_variable_is_its_value_which_cannot_be_guessed(tmp_path: Path) -> None:
    one = world(tmp_path, LANG="C").now("env", "LANG")
    assert one == world(tmp_path, LANG="C", OTHER="x").now("env", "LANG")
    assert one.digest not in (world(tmp_path, LANG="de").now("env", "LANG").digest, of_json("C"), MISSING)
    assert one.shown == ""
    assert world(tmp_path).now("env", "LANG").digest == MISSING
    assert world(tmp_path, LANG="").now("env", "LANG").digest != MISSING


def test_the_whole_environment_changes_with_any_part_of_it(tmp_path: Path) -> None:
    digests = {
        world(tmp_path, **environ).now("environ", "").digest for environ in ({}, {"A": "1"}, {"A": "2"}, {"B": "1"})
    }
    assert len(digests) == 4
    assert world(tmp_path, A="1", B="2").now("environ", "") == world(tmp_path, B="2", A="1").now("environ", "")


@pytest.mark.parametrize(
    ("name", "other", "shown"),
    [
        ("workers", Vars(workers=5), "4"),
        ("greeting", Vars(greeting="ho"), "'hello'"),
        ("names", Vars(names=("a", "b")), "('a',)"),
        ("password", Vars(password=Secret("correct horse")), ""),
        ("api_key", Vars(api_key="other"), ""),
    ],
)
def test_a_variable_is_its_value_shown_where_it_may_be(tmp_path: Path, name: str, other: Vars, shown: str) -> None:
    here = world(tmp_path, Vars()).now("variable", name)
    assert here == world(tmp_path, Vars()).now("variable", name)
    assert here.digest != world(tmp_path, other).now("variable", name).digest
    assert here.shown == shown


def test_a_variable_that_is_gone_is_missing(tmp_path: Path) -> None:
    assert world(tmp_path, Vars()).now("variable", "colour").digest == MISSING
    assert world(tmp_path).now("variable", "workers").digest == MISSING
