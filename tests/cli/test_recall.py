"""Checkpoints that live at a provider: another host, which has never run a step, goes on from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.testing.folder.cloud import FolderCloud

from .conftest import Done, Place

IMAGEFILE = """
from pathlib import Path

import bakery
from bakery.testing.folder.driver import Folder

HERE = Path(__file__).parent


@bakery.source
def box() -> Folder:
    return Folder(cloud={cloud!r})


@bakery.task
def first(m) -> None:
    m.put("site.conf", "/etc/site.conf")


@bakery.task(checkpoint=True)
def second(m) -> None:
    m.write("/etc/second", "two")


@bakery.task
def third(m) -> None:
    m.run("cat /etc/site.conf /etc/second >/etc/third")


@bakery.test
def all_of_them(host) -> None:
    assert host.file("/etc/third").content_string == "listen 80\\ntwo"


@bakery.image(builtin_tests=False)
def web() -> None: ...
"""


@pytest.fixture
def cloud(tmp_path: Path) -> FolderCloud:
    return FolderCloud(tmp_path / "cloud")


@pytest.fixture
def home(empty: Place, cloud: FolderCloud) -> Place:
    empty.write(IMAGEFILE.format(cloud=str(cloud.path)))
    empty.write("listen 80\n", "site.conf")
    return empty


def elsewhere(home: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> Place:
    """The same checkout in another folder of another host: no records, no catalogue, no cache."""
    folder = tmp_path / name
    folder.mkdir()
    for file in ("imagefile.py", "site.conf"):
        (folder / file).write_bytes((home.folder / file).read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BAKERY_CACHE_DIR", str(tmp_path / f"cache-of-{name}"))
    return Place(folder, home.capsys)


def ran(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return [name for name in ("first", "second", "third") if f"{name}: ok" in done.err]


def checkpoints(cloud: FolderCloud) -> list[str]:
    return [record["name"] for record in cloud.list("images") if record["name"].startswith("step-")]


def test_another_host_goes_on_after_the_checkpoint(
    home: Place, cloud: FolderCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ran(home.bake("build")) == ["first", "second", "third"]
    assert len(checkpoints(cloud)) == 1
    there = elsewhere(home, monkeypatch, tmp_path, "there")
    assert ran(there.bake("build")) == ["third"]
    assert len(checkpoints(cloud)) == 1


def test_what_a_step_read_is_compared_there(
    home: Place, cloud: FolderCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ran(home.bake("build")) == ["first", "second", "third"]
    there = elsewhere(home, monkeypatch, tmp_path, "there")
    there.write(IMAGEFILE.format(cloud=str(cloud.path)).replace("listen 80", "listen 81"))
    there.write("listen 81\n", "site.conf")
    assert ran(there.bake("build")) == ["first", "second", "third"]
    assert len(checkpoints(cloud)) == 2


@pytest.mark.parametrize("words", [("--no-cache",), ("--refresh",)])
def test_it_is_not_asked_for_where_the_user_wants_none(
    home: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert ran(home.bake("build")) == ["first", "second", "third"]
    there = elsewhere(home, monkeypatch, tmp_path, "there")
    assert ran(there.bake("build", *words)) == ["first", "second", "third"]


def test_a_note_that_lies_or_is_damaged_costs_only_time(
    home: Place, cloud: FolderCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ran(home.bake("build")) == ["first", "second", "third"]
    for number, note in enumerate(("", "not base64", "AAAA")):
        for file in cloud.path.glob("images/*/record.json"):
            record = next(r for r in cloud.list("images") if r["id"] == file.parent.name)
            if "bakery:note" in record["tags"]:
                import json

                file.write_text(json.dumps({**record, "tags": {**record["tags"], "bakery:note": note}}))
        there = elsewhere(home, monkeypatch, tmp_path, f"there-{number}")
        assert ran(there.bake("build")) == ["first", "second", "third"]


def test_a_checkpoint_that_is_gone_is_not_waited_for(home: Place, cloud: FolderCloud) -> None:
    assert ran(home.bake("build")) == ["first", "second", "third"]
    for record in cloud.list("images"):
        cloud.delete("images", record["id"])
    assert ran(home.bake("build")) == ["first", "second", "third"]
