"""A flipped bit in any file that we keep: the next build is right all the same, or says what is wrong."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from .conftest import Place

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    word: str = "hello"
    password: bakery.Secret = bakery.secret(env="TEST_PASSWORD")

@bakery.source
def here() -> Folder:
    return Folder(cloud={cloud!r})

@bakery.task
def hello(m, v):
    m.put("site.conf", "/etc/site.conf")
    m.write("/etc/motd", v.word)
    m.run("cat >/dev/null", input=v.password)

@bakery.test
def motd(host, v):
    assert host.file("/etc/motd").content_string == v.word
    assert host.file("/etc/site.conf").content_string == open("site.conf").read()
"""


@pytest.fixture
def built(empty: Place, secret: str, tmp_path: Path) -> Place:
    """A project that was built once, its cache and its state put aside for `again`."""
    empty.write(IMAGEFILE.format(cloud=str(tmp_path / "cloud")))
    empty.write("one\n", "site.conf")
    done = empty.bake("build")
    assert done.code == 0, done.err
    assert "up to date" in empty.bake("build").err
    for kept in kept_by(empty):
        shutil.copytree(kept, tmp_path / "aside" / kept.name, symlinks=True)
    return empty


def kept_by(place: Place) -> list[Path]:
    return [place.folder.parent / "cache", place.folder / ".bakery"]


def restore(place: Place) -> None:
    for kept in kept_by(place):
        shutil.rmtree(kept)
        shutil.copytree(place.folder.parent / "aside" / kept.name, kept, symlinks=True)


def files(place: Place) -> list[Path]:
    """All that is kept and not empty."""
    return sorted(path for kept in kept_by(place) for path in kept.rglob("*") if path.is_file() and path.stat().st_size)


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def check(place: Place, path: Path, bit: int) -> str:
    """Flip a bit and build; what goes well must have the right content, what fails must say which file is damaged."""
    restore(place)
    flip(path, bit)
    where = f"{path.relative_to(place.folder.parent)} bit {bit}"
    done = place.bake("build")
    assert "defect" not in done.err, f"{where}\n{done.err}"
    assert "Traceback" not in done.err, f"{where}\n{done.err}"
    if done.code:
        assert path.name in done.err, f"{where}\n{done.err}"
        assert "hint:" in done.err
        return f"{path.name}: {done.code}"
    for command in (
        ("images",),
        ("gc", "--dry-run"),
        ("report", "--list"),
        ("cache",),
        ("plan", "--explain"),
        ("why",),
    ):
        looked = place.bake(*command)
        assert "defect" not in looked.err, f"{where} {command}\n{looked.err}"
        assert looked.code in (0, 10), f"{where} {command}\n{looked.err}"
    return f"{path.name}: {'made again' if 'task 1/' in done.err else 'not noticed, or of no weight'}"


def test_a_flipped_bit_in_any_file_is_survived_or_named(built: Place) -> None:
    chance = random.Random(20261122)
    outcomes = {}
    for path in files(built):
        restore(built)  # the build before may have written more into it
        bit = chance.randrange(8 * path.stat().st_size)
        outcomes[check(built, path, bit)] = path
    assert any("made again" in outcome for outcome in outcomes), outcomes


@pytest.mark.all
@pytest.mark.timeout(3600)
def test_many_flipped_bits_in_each_file_are_survived_or_named(built: Place) -> None:
    chance = random.Random(3)
    for path in files(built):
        for bit in chance.sample(range(8 * path.stat().st_size), min(60, 8 * path.stat().st_size)):
            check(built, path, bit)
            restore(built)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff"], ids=["empty", "torn", "no text"])
def test_what_a_run_wrote_of_itself_may_be_damaged(built: Place, damage: bytes) -> None:
    for about in built.folder.glob(".bakery/runs/*/run.json"):
        about.write_bytes(damage)
    for command in (("build",), ("report", "--list"), ("report",), ("gc",)):
        done = built.bake(*command)
        assert done.code == 0, (command, done.err)


@pytest.mark.parametrize("damage", ["", "{", "null", "[]", '{"images": 3}', "\x00\xff"], ids=range(6))
def test_a_damaged_catalogue_is_named(built: Place, damage: str) -> None:
    catalogue = built.folder / ".bakery" / "catalogue.json"
    catalogue.write_text(damage, encoding="latin-1")
    for command in (("build",), ("images",), ("prune", "--yes"), ("ssh", "here")):
        done = built.bake(*command)
        assert done.code == 4, (command, done.err)
        assert "catalogue.json" in done.err
        assert "hint:" in done.err
