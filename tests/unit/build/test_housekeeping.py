"""Runs and bases that take more than they may: what goes, and what stays whatever it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.build import housekeeping
from bakery.build.housekeeping import RUNS, prune_runs, tidy
from bakery.errors import ImagefileError
from bakery.model import Resource
from bakery.state.journal import Journal
from bakery.state.project import RunFolder, State

from .memory import Project, project

__all__ = ["project"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A project of five runs, of which only the newest stays in any case."""
    monkeypatch.setattr(housekeeping, "SPARED", 1)
    made = State(tmp_path / ".bakery", tmp_path / "cache")
    made.prepare()
    for number in range(5):
        add(made, number)
    return made


def add(state: State, number: int) -> RunFolder:
    folder = RunFolder(state.runs_folder / f"20261122-14000{number}-9f3a")
    folder.path.mkdir()
    (folder.path / "events.jsonl").write_bytes(bytes(range(256)) * 40)
    Journal(folder.path).close()
    return folder


def ids(state: State) -> list[int]:
    return [int(run.id[14]) for run in state.runs()]


@pytest.mark.parametrize(("limit", "left"), [("1G", [0, 1, 2, 3, 4]), ("40K", [2, 3, 4]), ("0", [4])])
def test_the_oldest_runs_go_until_the_rest_fits(state: State, limit: str, left: list[int]) -> None:
    dry = prune_runs(state, {RUNS: limit}, dry_run=True)
    assert len(ids(state)) == 5
    assert prune_runs(state, {RUNS: limit}) == dry
    assert ids(state) == left


def test_what_is_alive_or_left_something_behind_stays(state: State) -> None:
    first, second = state.runs()[:2]
    with Journal(first.path):
        with Journal(second.path) as journal:
            journal.write("intend", Resource(driver="memory", kind="machine", key="m"))
        prune_runs(state, {RUNS: "0"})
        assert ids(state) == [0, 1, 4]


def test_a_limit_that_is_none_is_refused(state: State) -> None:
    with pytest.raises(ImagefileError, match="BAKERY_RUNS_LIMIT=few is no size"):
        prune_runs(state, {RUNS: "few"})


IMAGE = "@bakery.image(builtin_tests=False)\ndef web(): ...\n"


def test_after_a_build_that_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    monkeypatch.setattr(housekeeping, "SPARED", 1)
    project.write(IMAGE)
    project.build(environ={RUNS: "0"})
    assert not [notice for notice in project.notices if "went" in notice]
    project.build(environ={RUNS: "0"})  # nothing has changed: nothing is looked at
    assert len(project.state.runs()) == 2
    project.build(environ={RUNS: "0"}, cache=False)
    assert "2 old runs went; BAKERY_RUNS_LIMIT says how much they may take" in project.notices


def test_no_trouble_with_old_runs_is_the_runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> list[str]:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(housekeeping, "prune_runs", denied)
    project.write(IMAGE)
    tidy(project.run())
    assert any("old bases and runs are not tidied away" in notice for notice in project.notices)
