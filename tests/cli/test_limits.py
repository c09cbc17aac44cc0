"""Labels on sources, and how many builds of a label run at once."""

from __future__ import annotations

import json
from itertools import accumulate

import pytest

from .conftest import Place

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    number: int = 0

@bakery.source(labels=["licence:2"])
def here() -> Folder:
    return Folder(cloud="cloud")

@bakery.task
def hello(m):
    m.run("sleep 0.3")

@bakery.image(matrix={"number": [1, 2, 3, 4]})
def many(v):
    return f"many-{v.number}"
"""


def most_at_once(place: Place) -> int:
    """How many builds of the last run went on at the same time, at most."""
    log = max((place.folder / ".bakery" / "runs").iterdir()) / "events.jsonl"
    steps = {"build-started": 1, "build-ended": -1}
    types = [json.loads(line)["type"] for line in log.read_text().splitlines()]
    return max(accumulate(steps.get(name, 0) for name in types))


@pytest.mark.parametrize(("limit", "most"), [("licence:2", 1), ("licence:5", 2), ("folder:3", 3), ("licence:8", 4)])
def test_a_limit_bounds_the_builds_that_run_at_once(empty: Place, limit: str, most: int) -> None:
    empty.write(IMAGEFILE)
    done = empty.bake("--no-test", "--limit", limit)
    assert done.code == 0, done.err
    assert most_at_once(empty) == most


def test_a_hosts_limit_comes_from_the_environment(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKERY_LIMITS", "licence:3,kvm:1")
    empty.write(IMAGEFILE)
    assert empty.bake("--no-test").code == 0
    assert most_at_once(empty) == 1


def test_a_build_that_takes_more_than_there_is_stops_before_the_start(empty: Place) -> None:
    empty.write(IMAGEFILE)
    done = empty.bake("--limit", "licence:1")
    assert done.code == 4
    assert "it takes 2 of licence, and the limit is 1" in done.err
    assert not (empty.folder / "cloud").exists()


def test_a_limit_on_nothing_is_refused(empty: Place) -> None:
    empty.write(IMAGEFILE)
    done = empty.bake("--limit", "licens:1")
    assert done.code == 2
    assert "did you mean licence?" in done.err


@pytest.mark.parametrize("labels", ['["licence:0"]', "3", '"licence"', '[("licence", 1)]'])
def test_labels_that_are_none_are_refused_with_their_line(empty: Place, labels: str) -> None:
    empty.write(IMAGEFILE.replace('["licence:2"]', labels))
    done = empty.bake("plan")
    assert done.code == 3
    assert "labels= of here" in done.err
    assert "imagefile.py:9" in done.err
