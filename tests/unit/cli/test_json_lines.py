"""`--format json` where something is done: an object on a line for each thing, in place of words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Project


def objects(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_deleted_images_are_told_one_a_line(project: Project) -> None:
    images = [project.image("web-trixie", day) for day in (1, 2, 3)]
    would = project.bake("prune", "--dry-run", "--format", "json")
    assert [(told["did"], told["id"]) for told in objects(would.out)] == [
        ("would delete", images[0].id),
        ("would delete", images[1].id),
    ]
    done = project.bake("--format", "json", "prune", "--yes", "--keep", "2")
    assert objects(done.out) == [
        {"did": "deleted", "name": "web-trixie", "driver": images[0].driver, "id": images[0].id}
    ]
    done = project.bake("rm", "--yes", "web-trixie", "--format", "json")
    assert [(told["did"], told["id"]) for told in objects(done.out)] == [("deleted", images[2].id)]


def test_runs_are_told_one_a_line(project: Project) -> None:
    run = project.run(started=1000.5, ended=1010.5, exit_code=7, builds=["web@box"])
    killed = project.run(started=2000.0)
    told = objects(project.bake("report", "--list", "--format", "json").out)
    assert {one["run"]: one["state"] for one in told} == {run: "exit code 7", killed: "killed"}
    [ended] = [one for one in told if one["run"] == run]
    assert (ended["started"], ended["ended"], ended["exit_code"], ended["builds"]) == (1000.5, 1010.5, 7, ["web@box"])


def test_a_first_imagefile_is_told_by_its_path(empty: Project) -> None:
    done = empty.bake("init", "-f", "other.py", "--format", "json")
    assert objects(done.out) == [{"did": "written", "file": str(empty.folder / "other.py")}]


@pytest.mark.parametrize("words", [("rm", "--yes", "nope"), ("report", "nope")])
def test_errors_are_events_there(project: Project, words: tuple[str, ...]) -> None:
    done = project.bake(*words, "--format", "json")
    assert done.code == 2
    assert [one["type"] for one in objects(done.out)] == ["failed"]
