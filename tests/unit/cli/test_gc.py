"""`bake gc`: what dead runs left, by their journals or by tags; what is alive, kept or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bakery.cli.commands.gc import others
from bakery.model import Resource
from bakery.state.journal import Journal
from bakery.testing.folder.faults import Injection
from bakery.util.stuck_mounts import StuckMount

from .conftest import Project


@pytest.fixture(autouse=True)
def mounts(monkeypatch: pytest.MonkeyPatch) -> list[StuckMount]:
    """What a look at this host's mounts finds; the look itself is a process, see the tests of `stuck_mounts`."""
    found: list[StuckMount] = []
    monkeypatch.setattr("bakery.util.stuck_mounts.look", lambda: found[0] if found else None)
    return found


def keypair(project: Project, name: str, run: str = "") -> Resource:
    """Put a keypair into the cloud, and return what a journal knows of it."""
    project.cloud.create_keypair(name, "ssh-ed25519 AAAA", {"bakery:run": run, "bakery:build": "web@box"})
    data = {"cloud": str(project.cloud.path)}
    return Resource(driver="folder", kind="keypair", key=name, id=name, run=run, build="web@box", data=data)


def left(project: Project, name: str, op: str = "made") -> str:
    """A dead run whose journal has one keypair, as it is after this line."""
    run = project.run()
    with Journal(project.folder / ".bakery/runs" / run) as journal:
        resource = keypair(project, name, run)
        journal.intend(resource)
        if op != "intend":
            getattr(journal, op)(resource)
    return run


def names(project: Project) -> list[str]:
    return [record["name"] for record in project.cloud.list("keypairs")]


# ---- by journals ----------------------------------------------------------------------------------------------------


def test_where_nothing_was_left_that_is_said(project: Project) -> None:
    project.run()
    done = project.bake("gc")
    assert (done.code, done.out, done.err) == (0, "", "nothing was left behind\n")


@pytest.mark.parametrize("op", ["intend", "made", "failed"])
def test_what_a_dead_run_left_is_destroyed(project: Project, op: str) -> None:
    run = left(project, "k", op)
    keypair(project, "of somebody else")
    done = project.bake("gc")
    assert (done.code, done.out) == (0, f"destroyed folder keypair k of {run}\n")
    assert names(project) == ["of somebody else"]
    assert project.bake("gc").err == "nothing was left behind\n"


@pytest.mark.parametrize("op", ["gone", "kept"])
def test_what_is_gone_or_the_users_is_not_looked_at(project: Project, op: str) -> None:
    left(project, "k", op)
    assert project.bake("gc").out == ""
    assert names(project) == ["k"]


def test_a_dry_run_destroys_nothing(project: Project) -> None:
    run = left(project, "k")
    assert project.bake("gc", "-n").out == f"would destroy folder keypair k of {run}\n"
    data = project.bake("gc", "--dry-run", "--json").data
    assert (data["dry_run"], [item["key"] for item in data["destroyed"]]) == (True, ["k"])
    assert names(project) == ["k"]


def test_only_the_run_that_was_named_is_swept(project: Project) -> None:
    first = left(project, "k-1")
    left(project, "k-2")
    assert project.bake("gc", first).code == 0
    assert names(project) == ["k-2"]


def test_what_was_kept_on_purpose_goes_only_by_name(project: Project) -> None:
    run = left(project, "k", "held")
    done = project.bake("gc")
    assert (done.code, done.out) == (0, "")
    assert f"{run} was kept on purpose: `bake gc {run}` destroys it" in done.err
    assert names(project) == ["k"]
    assert project.bake("gc", run).code == 0
    assert names(project) == []


def test_a_run_that_is_alive_is_left_alone(project: Project) -> None:
    run = left(project, "k")
    with Journal(project.folder / ".bakery/runs" / run):
        done = project.bake("gc")
    assert (done.code, done.out) == (0, "")
    assert f"{run} is alive: left alone" in done.err
    assert names(project) == ["k"]


def test_what_cannot_be_destroyed_is_code_10_and_stays_known(project: Project) -> None:
    left(project, "k")
    project.cloud.faults.inject(Injection(call="delete_keypairs", fault="denied"))
    done = project.bake("gc")
    assert (done.code, done.out) == (10, "")
    assert "folder keypair k could not be destroyed" in done.err
    assert "permission denied" in done.err
    assert project.bake("gc").code == 0
    assert names(project) == []


def test_a_stubborn_thing_does_not_save_the_others(project: Project) -> None:
    for name in ("k-1", "k-2", "k-3"):
        left(project, name)
    project.cloud.faults.inject(Injection(call="delete_keypairs", fault="denied", first=2))
    assert project.bake("gc").code == 10
    assert names(project) == ["k-2"]


@pytest.mark.parametrize("damage", ["{}", "torn", '{"v":1,"op":"made"}', "\0\0\0"])
def test_a_damaged_journal_is_said_and_the_rest_of_it_is_swept(project: Project, damage: str) -> None:
    run = left(project, "k")
    path = project.folder / ".bakery/runs" / run / "journal.jsonl"
    path.write_text(f"{damage}\n{path.read_text()}")
    done = project.bake("gc")
    assert done.code == 10
    assert f"the journal of {run} is damaged" in done.err
    assert "lines that cannot be read: 1" in done.err
    assert f"bake gc --driver D {run}" in done.err
    assert names(project) == []
    assert project.bake("gc", "--json").data["damaged"] == {run: [1]}


def test_a_driver_that_is_not_installed_leaves_its_things_and_says_so(project: Project) -> None:
    run = project.run()
    with Journal(project.folder / ".bakery/runs" / run) as journal:
        journal.intend(Resource(driver="floppy", kind="disk", key="d", run=run))
    done = project.bake("gc")
    assert done.code == 10
    assert "floppy disk d could not be destroyed" in done.err
    assert "there is no driver 'floppy'" in done.err


def test_no_such_run(project: Project) -> None:
    left(project, "k")
    done = project.bake("gc", "nothing")
    assert (done.code, done.out) == (2, "")
    assert names(project) == ["k"]


# ---- by tags --------------------------------------------------------------------------------------------------------


def by_tags(project: Project, *words: str) -> tuple[str, ...]:
    return ("gc", "--driver", "folder", "--set", f"cloud={project.cloud.path}", *words)


@pytest.mark.parametrize(
    ("words", "stay"),
    [
        ([], []),
        (["r-1"], ["k-2"]),
        (["r-9"], ["k-1", "k-2"]),
        (["--older-than", "1h"], ["k-1", "k-2"]),
        (["--dry-run"], ["k-1", "k-2"]),
    ],
)
def test_what_carries_our_tags_is_swept_without_a_journal(project: Project, words: list[str], stay: list[str]) -> None:
    keypair(project, "k-1", "r-1")
    keypair(project, "k-2", "r-2")
    assert project.bake(*by_tags(project, *words)).code == 0
    assert names(project) == stay


def test_by_tags_too_a_run_that_is_alive_is_left_alone(project: Project) -> None:
    run = left(project, "k")
    keypair(project, "k-2", "r-2")
    with Journal(project.folder / ".bakery/runs" / run):
        assert project.bake(*by_tags(project)).code == 0
    assert names(project) == ["k"]


# ---- the host -------------------------------------------------------------------------------------------------------


def test_a_mount_that_never_ends_is_code_10_with_its_command(project: Project, mounts: list[StuckMount]) -> None:
    mounts.append(StuckMount(daemons=[714], connections=["42"]))
    left(project, "k")
    done = project.bake("gc")
    assert done.code == 10
    assert "waits for itself" in done.err
    assert "echo 1 > /sys/fs/fuse/connections/42/abort" in done.err
    assert names(project) == []


def test_what_was_never_finished_in_the_cache_goes_too(project: Project) -> None:
    half = project.cache / "bases" / "debian" / ".new"
    half.mkdir(parents=True)
    (half.parent / "lock").touch()
    assert project.bake("gc", "-n").out == "would remove bases/debian/.new of the cache, which was never finished\n"
    assert half.exists()
    assert project.bake("gc").out == "removed bases/debian/.new of the cache, which was never finished\n"
    assert not half.exists()


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        (["a"], "1 run belongs to another user and cannot be read, left out: a (`sudo bake gc` reads them)"),
        (["a", "b"], "2 runs belong to another user and cannot be read, left out: a, b (`sudo bake gc` reads them)"),
        (
            list("abcd"),
            "4 runs belong to another user and cannot be read, left out: a, b, c, ... (`sudo bake gc` reads them)",
        ),
    ],
)
def test_other_users_runs_are_counted_and_some_named(runs: list[str], shown: str) -> None:
    assert others(runs, "sudo bake gc") == shown


def test_the_sweep_as_data(project: Project) -> None:
    run, held = left(project, "k-1"), left(project, "k-2", "held")
    data: dict[str, Any] = project.bake("gc", "--json").data
    assert [item["key"] for item in data.pop("destroyed")] == ["k-1"]
    assert data == {
        "version": 1,
        "dry_run": False,
        "left": [],
        "unfinished": [],
        "alive": [],
        "held": [held],
        "unreadable": [],
        "damaged": {},
    }
    assert Path(project.folder / ".bakery/runs" / run).is_dir()
