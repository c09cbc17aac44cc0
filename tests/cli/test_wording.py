"""Sentences that were seen to mislead, as they are to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.reporting.formatting import ago
from bakery.util.units import counted

from .conftest import Place

BARE = """import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def here({argument}) -> Folder:
    {line}
    return Folder(cloud={cloud!r})


@bakery.task
def first(m) -> None:
    m.run("echo hello")


@bakery.task
def second(m{second}) -> None:
    m.run("echo hello")
"""


def bare(place: Place, tmp_path: Path, *, argument: str = "", line: str = "", second: str = "") -> None:
    place.write(BARE.format(cloud=str(tmp_path / "cloud"), argument=argument, line=line or "pass", second=second))


def test_a_first_bake_does_not_say_why_it_runs(empty: Place, tmp_path: Path) -> None:
    bare(empty, tmp_path)
    done = empty.bake("--no-test")
    assert done.code == 0, done.err
    assert "because" not in done.err
    assert "folder: 2 tasks, 0 tests" in done.err
    page = (max((empty.folder / ".bakery/runs").iterdir()) / "report.html").read_text()
    assert "1 line<" in page
    assert "never ran" not in page
    again = empty.bake("--no-test", "--refresh-task", "first").err
    assert "because --refresh" in again
    assert "because a step before it runs" in again


@pytest.mark.parametrize(
    ("where", "kind"),
    [({"second": ", v"}, "task second"), ({"argument": "v", "line": "print(v.release)"}, "source here")],
)
def test_variables_that_the_file_does_not_have_are_said_to_be_that(
    empty: Place, tmp_path: Path, where: dict[str, str], kind: str
) -> None:
    bare(empty, tmp_path, **where)
    done = empty.bake("--no-test")
    assert done.code == 3
    assert f"{kind} asks for the variables as v, and the imagefile has none" in done.err
    assert "write a class of variables with @bakery.variables" in done.err


def test_a_missing_secret_is_missing_once(place: Place) -> None:
    text = place.bake("plan", "--explain").out
    assert "password is missing" in text
    assert "(missing)" not in text


def test_runs_are_listed_with_their_date_and_how_long_they_took(place: Place, secret: str) -> None:
    place.bake("web-trixie", "--no-test")
    head, row = place.bake("report", "--list").out.splitlines()
    assert head.split() == ["RUN", "STARTED", "TOOK", "STATE", "BUILDS"]
    assert row.split()[5] == "ok"
    assert row.split()[4] == "s"


def test_a_no_to_prune_is_an_answer_and_no_interruption(
    place: Place, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.bake("web-trixie", "--no-test")
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: "n")
    done = place.bake("prune", "--keep", "0")
    assert done.code == 0, done.err
    assert "nothing was deleted" in done.err
    assert "interrupted" not in done.err
    assert "web-trixie" in place.bake("images").out


def test_an_image_behind_resume_is_an_image(place: Place, secret: str) -> None:
    place.bake("web", "-v", "greeting=other")
    done = place.bake("build", "--no-test", "--resume", "web")
    assert done.code == 0, done.err
    assert "continuing " in done.err
    wrong = place.bake("build", "--resume", "nothing")
    assert wrong.code == 2
    assert "no run matches 'nothing'" in wrong.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "just now"), (61, "1 minute ago"), (556, "9 minutes ago"), (7300, "2 hours ago"), (90000, "1 day ago")],
)
def test_how_long_something_is_past_is_said_in_words(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_one_is_no_plural() -> None:
    assert [counted(number, "task") for number in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]
