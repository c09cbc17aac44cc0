"""Breaking one thing after the other: what tests notice, and what they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Place

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def box() -> Folder:
    return Folder(cloud={cloud!r})


@bakery.task
def files(m) -> None:
    m.run("mkdir -p /srv/app")
    m.write("/srv/app/tested", "hello")
    m.write("/srv/app/forgotten", "hello")


@bakery.test
def tested(host) -> None:
    assert host.file("/srv/app/tested").content_string == {expected!r}


@bakery.test
def closed(host) -> None:
    assert host.file("/srv/app/tested").mode & 0o006 == 0o004


@bakery.image(builtin_tests=False)
def web() -> None: ...
"""


@pytest.fixture
def built(empty: Place, tmp_path: Path) -> Place:
    empty.write(IMAGEFILE.format(cloud=str(tmp_path / "cloud"), expected="hello"))
    done = empty.bake("build")
    assert done.code == 0, done.err
    return empty


def changes(place: Place, *words: str) -> dict[str, list[str]]:
    done = place.bake("mutate", "web", "--kind", "file", "--kind", "mode", "--json", *words)
    assert done.code == 8, done.err
    told = json.loads(done.out)["changes"]
    ours = [each for each in told if each["subject"].startswith("/srv/app/")]
    assert not any(each["problem"] for each in ours)
    return {f"{each['kind']} {Path(each['subject']).name}": each["noticed"] for each in ours}


def test_a_planted_gap_is_found_and_what_is_tested_is_noticed(built: Place) -> None:
    assert changes(built, "--limit", "200") == {
        "file forgotten": [],
        "mode forgotten": [],
        "file tested": ["tested", "closed"],
        "mode tested": ["closed"],
    }


def test_the_number_of_machines_is_bounded_and_each_change_is_told(built: Place) -> None:
    done = built.bake("mutate", "web", "--kind", "file", "--limit", "1")
    assert "more with a higher --limit" in done.err
    assert len([line for line in done.out.splitlines() if line.strip()]) == 1
    if done.code:
        assert "the tests did not notice 1 of 1 change" in done.err
        assert "NOT NOTICED" in done.out


def test_tests_that_fail_on_a_machine_that_is_well_test_nothing(built: Place, tmp_path: Path) -> None:
    built.write(IMAGEFILE.format(cloud=str(tmp_path / "cloud"), expected="other"))
    done = built.bake("mutate", "web")
    assert done.code == 8
    assert "nothing was broken yet" in done.err


def test_an_image_that_is_not_there_is_told(built: Place) -> None:
    assert built.bake("mutate", "nothing").code == 2
