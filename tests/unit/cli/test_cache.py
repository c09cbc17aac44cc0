"""`bake cache`: what is in it, and what goes."""

from __future__ import annotations

import os
import time

import pytest

from bakery.cache.checkpoints.lease import Lease
from bakery.cache.checkpoints.store import Store
from bakery.model import Checkpoint
from bakery.util.context import WorkContext

from .conftest import Project

MIB = 1 << 20
HOUR, DAY = 3600.0, 86_400.0


def checkpoint(
    project: Project, key: str, age: float = 0.0, *, size: int = MIB, on: str = "", warm: bool = False
) -> None:
    """Make a checkpoint that was last used so many seconds ago."""
    store = Store(WorkContext(cache=project.cache))
    with Lease(store) as lease:
        place = lease.make(key)
        assert place
        (place.folder / "disk").write_bytes(os.urandom(size))
        layers = [str(place.folder / "disk"), *([str(store.folder / on / "disk")] if on else [])]
        place.keep(Checkpoint(driver="qemu", key=key, folder=place.folder, warm=warm, settings={"layers": layers}))
    used = time.time() - age
    os.utime(store.folder / f"{key}.lock", (used, used))


def base(project: Project, name: str, age: float) -> None:
    folder = project.cache / "bases" / name
    folder.mkdir(parents=True)
    (folder / "disk.raw").write_bytes(bytes(8192))
    (folder / "lock").touch()
    os.utime(folder / "lock", (time.time() - age,) * 2)


def keys(project: Project) -> list[str]:
    return [entry["key"] for entry in project.bake("cache", "ls", "--json").data["checkpoints"]]


# ---- looking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["cache"], ["cache", "ls"]])
def test_an_empty_cache_is_its_folder_and_a_size(project: Project, words: list[str]) -> None:
    done = project.bake(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out.rstrip() == f"{project.cache}  0 B"


def test_checkpoints_are_shown_the_least_recently_used_first(project: Project) -> None:
    checkpoint(project, "s1-new", 90.0, warm=True)
    checkpoint(project, "s1-old", 2 * DAY)
    lines = project.bake("cache").out.splitlines()
    assert lines[0].startswith(f"{project.cache}  2.")
    at = lines.index("")
    assert lines[at + 1].split() == ["CHECKPOINT", "PROJECT", "BUILD", "TASK", "DRIVER", "SIZE", "USED"]
    assert lines[at + 2].split() == ["s1-old", "qemu", "1.0", "MiB", "2", "days", "ago"]
    assert lines[at + 3].split() == ["s1-new", "qemu,", "warm", "1.0", "MiB", "1", "minute", "ago"]
    assert lines[at + 4] == "2.0 MiB of 20.0 GiB for checkpoints"


def test_the_cache_as_data(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKERY_CACHE_LIMIT", "5G")
    checkpoint(project, "s1-a")
    checkpoint(project, "s1-b", on="s1-a")
    data = project.bake("cache", "ls", "--json").data
    assert (data["version"], data["folder"], data["limit"]) == (1, str(project.cache), 5 << 30)
    assert {entry["key"]: entry["stands_on"] for entry in data["checkpoints"]} == {"s1-a": [], "s1-b": ["s1-a"]}
    assert data["bytes"]["steps"] >= 2 * MIB
    assert project.bake("--format", "json", "cache").data.keys() == data.keys()


@pytest.mark.parametrize("limit", ["lots", "-1", "5X"])
def test_a_limit_that_is_no_size_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("BAKERY_CACHE_LIMIT", limit)
    done = project.bake("cache")
    assert (done.code, done.out) == (3, "")
    assert f"BAKERY_CACHE_LIMIT={limit} is no size" in done.err


# ---- shrinking ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "stay"),
    [
        ([], ["s1-c", "s1-b", "s1-a"]),
        (["--keep", "2M"], ["s1-b", "s1-a"]),
        (["--keep", "2 MiB"], ["s1-b", "s1-a"]),
        (["--keep", "0"], []),
        (["--older-than", "36h"], ["s1-b", "s1-a"]),
        (["--older-than", "1h"], ["s1-a"]),
        (["--older-than", "7d"], ["s1-c", "s1-b", "s1-a"]),
        (["--keep", "1M", "--older-than", "7d"], ["s1-a"]),
    ],
)
def test_the_least_recently_used_goes_first(project: Project, words: list[str], stay: list[str]) -> None:
    for key, age in (("s1-a", 60.0), ("s1-b", DAY), ("s1-c", 2 * DAY)):
        checkpoint(project, key, age, size=MIB - 65536)
    assert project.bake("cache", "prune", *words).code == 0
    assert keys(project) == stay


def test_what_is_removed_is_told_with_its_size(project: Project) -> None:
    checkpoint(project, "s1-a")
    done = project.bake("cache", "prune", "--keep", "0")
    assert done.out.startswith("removed s1-a  1.0 MiB")
    assert project.bake("cache", "prune", "--keep", "0").err == "nothing to remove\n"


def test_what_another_checkpoint_stands_on_goes_after_it(project: Project) -> None:
    checkpoint(project, "s1-a", 2 * DAY)
    checkpoint(project, "s1-b", DAY, on="s1-a")
    lines = project.bake("cache", "prune", "--keep", "0").out.splitlines()
    assert [line.split()[1] for line in lines] == ["s1-b", "s1-a"]


def test_what_is_in_use_stays(project: Project) -> None:
    checkpoint(project, "s1-a")
    with Lease(Store(WorkContext(cache=project.cache))) as lease:
        assert lease.get("s1-a")
        assert project.bake("cache", "prune", "--keep", "0").err == "nothing to remove\n"
    assert keys(project) == ["s1-a"]


def test_bases_go_by_age_alone(project: Project) -> None:
    base(project, "old", 2 * DAY)
    base(project, "young", HOUR)
    assert project.bake("cache", "prune", "--keep", "0").out == ""
    assert project.bake("cache", "prune", "--older-than", "1d").out.startswith("removed bases/old  ")
    assert sorted(path.parent.name for path in project.cache.glob("bases/*/disk.raw")) == ["young"]


# ---- names, bounds, dry runs ----------------------------------------------------------------------------------------


def test_a_checkpoint_is_named_by_project_build_and_task(project: Project) -> None:
    store = Store(WorkContext(cache=project.cache))
    made_for = {"project": str(project.folder / "images"), "build": "web@box", "task": "nginx"}
    with Lease(store) as lease:
        place = lease.make("s1-0123456789abcdef", made_for)
        assert place
        (place.folder / "disk").write_bytes(os.urandom(100))
        place.keep(Checkpoint(driver="qemu", key=place.key, folder=place.folder))
    assert project.bake("cache", "ls", "--json").data["checkpoints"][0]["made_for"] == made_for
    rows = project.bake("cache", "ls").rows
    assert ["s1-0123456789ab", "images", "web@box", "nginx", "qemu"] in [row[:5] for row in rows]


def test_bases_are_shown_with_their_limit(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKERY_BASES_LIMIT", "1M")
    base(project, "debian-1", HOUR)
    data = project.bake("cache", "ls", "--json").data
    assert (data["bases_limit"], [shown["name"] for shown in data["bases"]]) == (MIB, ["bases/debian-1"])
    assert "of 1.0 MiB for bases" in project.bake("cache", "ls").out


@pytest.mark.parametrize("how", ["option", "environment"])
def test_bases_beyond_their_limit_go_the_least_recently_used_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for number, age in enumerate((3 * HOUR, HOUR, 2 * HOUR)):
        base(project, f"debian-{number}", age)
    if how == "environment":
        monkeypatch.setenv("BAKERY_BASES_LIMIT", "9K")
    words = ["--keep-bases", "9K"] if how == "option" else []
    done = project.bake("cache", "prune", *words)
    assert [line.split()[1] for line in done.out.splitlines()] == ["bases/debian-0", "bases/debian-2"]
    assert [shown["name"] for shown in project.bake("cache", "ls", "--json").data["bases"]] == ["bases/debian-1"]


def test_a_dry_run_names_what_would_go_and_removes_nothing(project: Project) -> None:
    checkpoint(project, "s1-old", 2 * DAY)
    checkpoint(project, "s1-new", HOUR)
    base(project, "debian-1", DAY)
    words = ["cache", "prune", "--keep", "0", "--keep-bases", "0"]
    dry = project.bake(*words, "--dry-run")
    assert [line.split()[:3] for line in dry.out.splitlines()] == [
        ["would", "remove", "s1-old"],
        ["would", "remove", "s1-new"],
        ["would", "remove", "bases/debian-1"],
    ]
    assert keys(project) == ["s1-old", "s1-new"]
    real = project.bake(*words)
    assert [line.split()[1] for line in real.out.splitlines()] == ["s1-old", "s1-new", "bases/debian-1"]
    assert keys(project) == []


def test_a_dry_run_leaves_out_what_is_in_use(project: Project) -> None:
    checkpoint(project, "s1-a")
    with Lease(Store(WorkContext(cache=project.cache))) as lease:
        assert lease.get("s1-a")
        assert project.bake("cache", "prune", "--keep", "0", "-n").out == ""
    assert "s1-a" in project.bake("cache", "prune", "--keep", "0", "-n").out


def test_a_limit_that_is_none_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKERY_BASES_LIMIT", "much")
    done = project.bake("cache", "ls")
    assert done.code == 3
    assert "BAKERY_BASES_LIMIT=much is no size" in done.err
