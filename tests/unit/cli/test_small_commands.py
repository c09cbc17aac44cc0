"""`bake init`, `graph` and `completion`: what they write, and what they leave alone."""

from __future__ import annotations

import pytest

from bakery.errors import UsageError

from .conftest import Project


def test_a_first_imagefile_is_written_that_can_be_listed(empty: Project) -> None:
    done = empty.bake("init")
    assert (done.code, done.out) == (0, "imagefile.py\n")
    assert "`bake` builds the image" in done.err
    assert empty.bake("list").code == 0


def test_one_that_is_there_is_never_written_over(empty: Project) -> None:
    empty.write("mine")
    done = empty.bake("init")
    assert done.code == UsageError.exit_code
    assert "imagefile.py exists already" in done.err
    assert (empty.folder / "imagefile.py").read_text() == "mine"


def test_a_folder_that_is_not_there_is_no_defect_of_ours(empty: Project) -> None:
    done = empty.bake("init", "-f", "gone/imagefile.py")
    assert done.code == UsageError.exit_code
    assert "No such file or directory" in done.err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ".bakery/\n"),
        ("*.pyc", "*.pyc\n.bakery/\n"),
        ("*.pyc\n", "*.pyc\n.bakery/\n"),
        (".bakery\n", ".bakery\n"),
        ("/x\n  .bakery/  \n", "/x\n  .bakery/  \n"),
    ],
)
def test_in_a_repository_our_own_files_are_ignored_once(empty: Project, before: str | None, after: str) -> None:
    (empty.folder.parent / ".git").mkdir()
    if before is not None:
        empty.write(before, ".gitignore")
    empty.bake("init")
    assert (empty.folder / ".gitignore").read_text() == after


def test_outside_of_one_nothing_is_ignored(empty: Project) -> None:
    empty.bake("init")
    assert not (empty.folder / ".gitignore").exists()


def test_images_are_drawn_in_either_language(project: Project) -> None:
    assert project.bake("graph").out.startswith(("flowchart", "graph"))
    assert project.bake("graph", "db", "--as", "dot").out.startswith("digraph")
    assert {build["name"] for build in project.bake("graph", "db", "--format", "json").data["builds"]} == {
        "db@box",
    }


def test_a_graph_says_what_the_plan_warns_of(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from bakery.cli.project import Project as View

    plan = View.plan
    monkeypatch.setattr(View, "plan", lambda *given: replace(plan(*given), warnings=("mind the gap",)))
    done = project.bake("graph")
    assert "warning: mind the gap" in done.err
    assert "mind the gap" not in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_ask_us(project: Project, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_: None)
    done = project.bake("completion", shell)
    assert done.code == 0
    assert f"_BAKE_COMPLETE={shell}_complete" in done.out
