"""A base's place in the cache: trees and disks that are made, found, checked and made anew."""

from __future__ import annotations

import os
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery.disk import build
from bakery.disk.bases import debian_build, generations, owners
from bakery.disk.bases.debian import Debian, _subordinate_ids
from bakery.disk.bases.generations import BaseGenerations, _read, _write
from bakery.errors import DriverError
from bakery.events import Event, Notice, Waiting
from bakery.util.context import WorkContext
from tests.unit.fake_tools import FakeTools

STATUS = "Package: dpkg\n"


class Maker:
    """Makes trees: one after the other with another list of packages, or the same."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.calls = 0

    def __call__(self, folder: Path, _: WorkContext) -> None:
        self.calls += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        (folder / "tree" / "var/lib/dpkg").mkdir(parents=True)
        (folder / "tree" / "var/lib/dpkg/status").write_text(status)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """Programs that read and remove trees, and a disk that has its tree's list of packages in it."""

    def remove(words: list[str]) -> None:
        for path in sorted(Path(words[-1]).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        if Path(words[-1]).exists():
            Path(words[-1]).rmdir()

    def make_disk(tree: Path, out: Path, _: WorkContext, **_options: object) -> None:
        out.write_bytes((tree / "var/lib/dpkg/status").read_bytes() * 4096)

    monkeypatch.setattr(generations, "make_disk", make_disk)
    monkeypatch.setattr(owners, "wrong", lambda _: "")  # whoever runs the tests owns the trees
    tools = FakeTools.install(monkeypatch, generations, build, debian_build)
    tools.answer("*cat *", lambda words: Path(words[-1]).read_bytes())
    return tools.answer("*rm --recursive *", remove)


@pytest.fixture
def shelf(tmp_path: Path, tools: FakeTools, events: list[Event]) -> BaseGenerations:
    work = WorkContext(cache=tmp_path, emit=events.append)
    return BaseGenerations(tmp_path / "debian-bookworm-0123", work=work, what="Debian bookworm", max_age=3600)


def notices(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_a_tree_is_made_once_and_named_by_its_content(shelf: BaseGenerations) -> None:
    make = Maker(STATUS)
    folder = shelf.tree(make)
    assert (shelf.tree(make), shelf.key(), make.calls) == (folder, folder.name, 1)
    assert (folder / "tree/var/lib/dpkg/status").read_text() == STATUS
    assert not (shelf.folder / generations.NEW).exists()


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (None, "there is none in the cache yet"),
        ({"version": 1, "packages=": ["curl"]}, "the one in the cache has packages=['curl'], not []"),
        ({"version": 0, "packages=": []}, "the one in the cache was made by another version of bakery"),
        ({"version": 1, "packages=": []}, "the one in the cache was made by another user, whose ids its files have"),
        ({}, "the one in the cache was made by another version of bakery"),
    ],
)
def test_why_a_base_is_made_is_said(
    tmp_path: Path, tools: FakeTools, events: list[Event], theirs: dict[str, Any] | None, why: str
) -> None:
    work = WorkContext(cache=tmp_path, emit=events.append)

    def shelf(name: str, recipe: dict[str, Any]) -> BaseGenerations:
        folder = tmp_path / f"debian-bookworm-{name * 16}"
        return BaseGenerations(folder, work=work, what="Debian bookworm", max_age=7 * 86400, recipe=recipe)

    if theirs is not None:
        shelf("a", theirs).tree(Maker(STATUS))
        events.clear()
    own = shelf("b", {"version": 1, "packages=": []})
    tree = own.tree(Maker(STATUS))
    assert notices(events) == [f"Debian bookworm is made: {why}"]
    own.tree(Maker(STATUS))
    assert len(notices(events)) == 1
    _write(tree, {**_read(tree), "made": 1.0})
    own.tree(Maker(STATUS))
    assert notices(events)[1:] == ["Debian bookworm is made anew: the one in the cache was made more than 7 days ago"]


def test_what_a_killed_process_left_is_no_part_of_a_new_tree(shelf: BaseGenerations) -> None:
    (shelf.folder / generations.NEW / "tree" / "half").mkdir(parents=True)
    assert not (shelf.tree(Maker(STATUS)) / "tree" / "half").exists()


def test_an_old_tree_that_is_made_again_the_same_is_young_again(shelf: BaseGenerations) -> None:
    make = Maker(STATUS)
    folder = shelf.tree(make)
    inode = (folder / "tree").stat().st_ino
    _write(folder, {**_read(folder), "made": 1.0})
    assert shelf.key() is None
    assert shelf.tree(make) == folder
    assert (make.calls, (folder / "tree").stat().st_ino, shelf.key()) == (2, inode, folder.name)


def test_another_list_of_packages_is_another_generation_and_the_old_one_stays(shelf: BaseGenerations) -> None:
    make = Maker(STATUS, "Package: apt\n")
    old = shelf.tree(make)
    _write(old, {**_read(old), "made": 1.0})
    new = shelf.tree(make)
    assert new != old
    assert (old / "tree").is_dir(), "machines may run on it"


def test_a_tree_that_cannot_be_made_leaves_nothing_half_made(shelf: BaseGenerations) -> None:
    def fail(folder: Path, _: WorkContext) -> None:
        (folder / "tree").mkdir()
        raise DriverError("making Debian bookworm failed")

    with pytest.raises(DriverError, match="making Debian bookworm failed"):
        shelf.tree(fail)
    assert [path.name for path in shelf.folder.iterdir()] == ["lock"]


def test_a_disk_is_made_of_the_tree_once_and_nobody_can_write_to_it(
    shelf: BaseGenerations, events: list[Event]
) -> None:
    folder = shelf.disk(Maker(STATUS))
    disk = folder / "disk.raw"
    assert disk.stat().st_mode & 0o777 == 0o444
    made = disk.stat().st_ino
    assert shelf.disk(Maker(STATUS)) == folder
    assert disk.stat().st_ino == made
    assert [event.what for event in events if isinstance(event, Waiting)] == ["Debian bookworm: making the disk"]
    assert shelf.intact()


def test_a_disk_whose_date_alone_changed_is_read_and_used(shelf: BaseGenerations) -> None:
    disk = shelf.disk(Maker(STATUS)) / "disk.raw"
    made = disk.stat().st_ino
    os.utime(disk, (1, 1))
    shelf.disk(Maker(STATUS))
    assert (disk.stat().st_ino, _read(disk.parent)["disk"]["mtime_ns"]) == (made, 10**9)


@pytest.mark.parametrize("damage", ["byte", "length", "gone"])
def test_a_disk_that_was_changed_is_made_anew_and_that_is_said(
    shelf: BaseGenerations, events: list[Event], damage: str
) -> None:
    disk = shelf.disk(Maker(STATUS)) / "disk.raw"
    data = disk.read_bytes()
    disk.unlink()
    if damage != "gone":
        disk.write_bytes(b"x" + data[1:] if damage == "byte" else data + b"x")
    assert not shelf.intact()
    shelf.disk(Maker(STATUS))
    assert disk.read_bytes() == data
    assert ("the disk of Debian bookworm in the cache was changed; it is made anew" in notices(events)) is (
        damage != "gone"
    )


def test_an_empty_place_is_not_intact(shelf: BaseGenerations) -> None:
    assert not shelf.intact()
    shelf.tree(Maker(STATUS))
    assert not shelf.intact()


# ---- Debian -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mmdebstrap(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Makes a tree, and remembers what was in the archives that it was given."""
    given: dict[str, bytes] = {}

    def make(words: list[str]) -> None:
        for word in words:
            for path in (part for part in word.split() if part.endswith((".tar", ".tar'"))):
                archive = Path(path.strip("'\""))
                if archive.exists():
                    with tarfile.open(archive) as tar:
                        for member in tar:
                            file = tar.extractfile(member)
                            given[member.name] = file.read() if file else b""
        target = next(Path(word) for word in words if word.endswith("/tree"))
        (target / "var/lib/dpkg").mkdir(parents=True)
        (target / "var/lib/dpkg/status").write_text(STATUS)

    monkeypatch.setattr(debian_build, "host_apt", lambda _: None)
    monkeypatch.setattr(debian_build, "alone", tuple)
    monkeypatch.setattr(debian_build, "root", tuple)
    tools.answer("mmdebstrap *", make)
    return given


def test_a_debian_base_is_made_by_mmdebstrap_and_found_again(
    mmdebstrap: dict[str, bytes], tools: FakeTools, tmp_path: Path
) -> None:
    base, work = Debian("bookworm", packages=("curl",)), WorkContext(cache=tmp_path)
    assert base.key(work) is None
    tree = base.tree(work)
    assert (tree.login, tree.key, base.key(work)) == ("credentials", tree.key, tree.key)
    words = next(words for words in tools.ran if words[0] == "mmdebstrap")
    assert any("curl" in word for word in words)
    assert words[-1].startswith("deb http")
    assert b"bookworm main" in mmdebstrap["etc/apt/sources.list"]
    disk = base.disk(work)
    assert (disk.key, disk.format, base.intact(work)) == (tree.key, "raw", True)


def test_progress_is_handed_on_and_hooks_are_not(tmp_path: Path, events: list[Event]) -> None:
    heard = debian_build._teller(Debian("bookworm"), WorkContext(cache=tmp_path, emit=events.append))
    for line in ("I: downloading packages with apt...", "I: running --customize-hook in shell", "W: other"):
        heard(line)
    assert [event.what for event in events if isinstance(event, Waiting)] == [
        "Debian bookworm: downloading packages with apt"
    ]


def test_a_snapshot_never_ages(tmp_path: Path) -> None:
    work = WorkContext(cache=tmp_path)
    assert debian_build.shelf(Debian("bookworm", snapshot="20261101T000000Z"), work).max_age is None
    assert debian_build.shelf(Debian("bookworm", max_age=timedelta(hours=2)), work).max_age == 7200


@pytest.mark.parametrize("refused", [False, True])
def test_who_is_not_root_needs_ids_and_a_namespace(monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    tools = FakeTools.install(monkeypatch)
    tools.answer("*true", DriverError("a user namespace failed", why="not permitted") if refused else b"")
    table = {"text": f"{os.getuid()}:100000:65536\n"}
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: table["text"])
    assert [problem.why for problem in _subordinate_ids()] == (["not permitted"] if refused else [])
    table["text"] = "somebody:100000:65536\n"
    (problem,) = _subordinate_ids()
    assert "no subordinate user ids" in problem.what
