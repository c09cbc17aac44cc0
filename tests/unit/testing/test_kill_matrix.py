"""The kill matrix: what it runs, and what it counts as left or lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import BakeryError
from bakery.testing.kill import KillMatrix

PLACES = ["before intend file a", "after intend file a", "before commit", "after commit"]


@dataclass(kw_only=True)
class Recorded(KillMatrix):
    """A matrix whose builds are told: what each leaves at the provider, with the words that it was run with.

    Args:
        does: what the build, killed at a point, and `bake gc` leave; given the point, None for the latter.
        code: the exit code of a build that is not killed.
    """

    does: Callable[[int | None], None] = lambda _: None
    code: int = 0
    ran: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def _bake(self, *words: str, **environ: str) -> subprocess.CompletedProcess[Any]:
        self.ran.append(words)
        if words[0] == "gc":
            self.does(None)
            return subprocess.CompletedProcess(words, 0, "swept\n", "")
        point = int(environ["BAKERY_CRASH_AT"])
        self.does(point)
        seen = PLACES if point == 0 else PLACES[:point]
        lines = "".join(f"{number} {place}\n" for number, place in enumerate(seen, 1))
        Path(environ["BAKERY_CRASH_TRACE"]).write_text(lines)
        return subprocess.CompletedProcess(words, -9 if point else self.code, "built\n", "said\n")


@pytest.fixture
def world() -> set[str]:
    """All that exists at the provider."""
    return {"image web 1"}


def matrix(
    folder: Path, world: set[str], does: Callable[[int | None], None] = lambda _: None, code: int = 0
) -> Recorded:
    return Recorded(
        project=folder,
        exists=lambda: set(world),
        image=lambda thing: thing.startswith("image web "),
        words=("--no-cache",),
        does=does,
        code=code,
    )


def test_the_places_are_those_of_a_build_that_is_not_killed(tmp_path: Path, world: set[str]) -> None:
    made = matrix(tmp_path, world)
    assert made.places() == PLACES
    assert made.ran == [("build", "--no-cache")]


def test_a_build_that_fails_by_itself_has_no_places(tmp_path: Path, world: set[str]) -> None:
    with pytest.raises(BakeryError, match="fails without being killed") as caught:
        matrix(tmp_path, world, code=7).places()
    assert caught.value.why == "built\nsaid\n"


def test_what_the_dead_left_is_looked_at_before_it_is_cleaned_up(tmp_path: Path, world: set[str]) -> None:
    def build(point: int | None) -> None:
        world.discard("stuck") if point is None else world.add("stuck")

    made, seen = matrix(tmp_path, world, build), list[bool]()
    made.after_kill = lambda: seen.append("stuck" in world)
    made.kill_at(2)
    assert (seen, world) == ([True], {"image web 1"})


@pytest.mark.parametrize("point", [1, 3])
def test_where_nothing_is_left_a_point_says_so(tmp_path: Path, world: set[str], point: int) -> None:
    killed = matrix(tmp_path, world).kill_at(point)
    assert (killed.point, killed.place, killed.left) == (point, PLACES[point - 1], ())
    assert (killed.exit_code, killed.gc_code, killed.output) == (-9, 0, "built\nsaid\nswept\n")


def test_a_kill_is_followed_by_a_sweep(tmp_path: Path, world: set[str]) -> None:
    made = matrix(tmp_path, world)
    made.kill_at(2)
    assert made.ran == [("build", "--no-cache"), ("gc",)]


def change(world: set[str], *, more: str = "", less: str = "", at: int | None = 1) -> Callable[[int | None], None]:
    def does(point: int | None) -> None:
        if point == at:
            world.difference_update({less})
            world.update({more} - {""})

    return does


@pytest.mark.parametrize(
    ("more", "less", "left"),
    [
        ("machine m-1", "", ("machine m-1",)),
        ("image web 2", "", ()),
        ("image web 2", "image web 1", ()),
        ("image db 2", "", ("image db 2",)),
        ("", "network n", ("lost: network n",)),
        ("machine m-1", "network n", ("lost: network n", "machine m-1")),
    ],
)
def test_what_is_left_or_lost_counts_unless_it_is_a_kept_image(
    tmp_path: Path, world: set[str], more: str, less: str, left: tuple[str, ...]
) -> None:
    world.add("network n")
    assert matrix(tmp_path, world, change(world, more=more, less=less)).kill_at(1).left == left


def test_what_the_sweep_destroys_is_not_left(tmp_path: Path, world: set[str]) -> None:
    def does(point: int | None) -> None:
        world.add("machine m-1") if point else world.discard("machine m-1")

    assert matrix(tmp_path, world, does).kill_at(4).left == ()


def test_what_an_earlier_point_left_is_not_counted_again(tmp_path: Path, world: set[str]) -> None:
    made = matrix(tmp_path, world, change(world, more="machine m-1"))
    assert [killed.left for killed in made.run(iter([1, 2]))] == [("machine m-1",), ()]


@pytest.mark.parametrize(("points", "killed"), [(None, [1, 2, 3, 4]), (iter([2, 4]), [2, 4])])
def test_a_matrix_kills_at_all_places_or_at_some(
    tmp_path: Path, world: set[str], points: Iterator[int] | None, killed: list[int]
) -> None:
    assert [done.point for done in matrix(tmp_path, world).run(points)] == killed
