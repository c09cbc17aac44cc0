"""Errors: the tree that the module draws, exit codes, and how they read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bakery import errors
from bakery.errors import (
    BakeryError,
    CleanupError,
    CommandFailed,
    ConnectError,
    DriverError,
    ImagefileError,
    Interrupted,
    Location,
    NotYet,
    PostError,
    PreflightError,
    RetryableError,
    SmokeError,
    TaskError,
    UsageError,
)
from bakery.model import Result

CODES: dict[type[BakeryError], int] = {
    BakeryError: 1,
    UsageError: 2,
    ImagefileError: 3,
    PreflightError: 4,
    DriverError: 5,
    RetryableError: 5,
    ConnectError: 6,
    TaskError: 7,
    CommandFailed: 7,
    SmokeError: 8,
    PostError: 9,
    CleanupError: 10,
    Interrupted: 130,
}
"""What scripts rely on."""


def drawn() -> dict[str, tuple[int, str]]:
    """The tree at the top of the module: name, exit code, parent."""
    found: dict[str, tuple[int, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]*)([A-Z]\w+) +(\d+) ", line):
            depth = len(match[1]) // 4
            above = [*above[:depth], match[2]]
            found[match[2]] = int(match[3]), above[-2] if depth else "Exception"
    return found


def test_each_family_has_its_exit_code() -> None:
    assert {kind: kind.exit_code for kind in CODES} == CODES


def test_the_drawn_tree_is_the_real_one() -> None:
    assert drawn() == {kind.__name__: (code, kind.__bases__[0].__name__) for kind, code in CODES.items()}


def test_every_error_of_the_module_is_in_the_tree() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds == {*CODES, NotYet}


def test_not_yet_is_no_error_that_a_user_sees() -> None:
    waiting = NotYet("no address yet")
    assert not isinstance(waiting, BakeryError)
    assert (str(waiting), waiting.reason) == ("no address yet", "no address yet")


WHERE = Location(Path("/elsewhere/imagefile.py"), 12)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (BakeryError("it broke"), "it broke"),
        (BakeryError("it broke", why="because"), "it broke\nbecause"),
        (BakeryError("it broke", hint="mend it"), "it broke\nhint: mend it"),
        (BakeryError("it broke", where=WHERE), "/elsewhere/imagefile.py:12: it broke"),
        (
            BakeryError("it broke", why="one\ntwo", hint="mend it", where=WHERE),
            "/elsewhere/imagefile.py:12: it broke\none\ntwo\nhint: mend it",
        ),
    ],
)
def test_an_error_reads_as_place_what_why_and_hint(error: BakeryError, shown: str) -> None:
    assert str(error) == shown
    assert error.args == (error.what,)


def test_a_failed_command_carries_its_result() -> None:
    result = Result(command="false", exited=1, stderr="no\n")
    error = CommandFailed("`false` failed", result=result, why="no")
    assert error.result is result
    assert str(error) == "`false` failed\nno"


def test_a_place_is_relative_where_that_is_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(Location(tmp_path / "images" / "imagefile.py", 3)) == "images/imagefile.py:3"
    assert str(Location(tmp_path.parent / "imagefile.py", 3)) == f"{tmp_path.parent}/imagefile.py:3"
    assert str(Location(Path(f"{tmp_path}-too/imagefile.py"), 3)) == f"{tmp_path}-too/imagefile.py:3"


def test_a_place_is_told_whole_where_the_current_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert str(Location(tmp_path / "imagefile.py", 3)) == f"{tmp_path}/imagefile.py:3"


def test_places_are_in_the_order_in_which_one_reads() -> None:
    first, second, third = Location(Path("/a.py"), 2), Location(Path("/a.py"), 10), Location(Path("/b.py"), 1)
    assert sorted([third, second, first]) == [first, second, third]
