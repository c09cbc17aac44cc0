"""`bake screenshot` and `bake vnc`: which machine is meant, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery import events as e
from bakery.model import Resource, Where
from bakery.state.journal import encode
from bakery.testing.folder.driver import FolderDriver

from .conftest import Project
from .test_report import BEGAN


@pytest.fixture
def run(project: Project, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with a machine of each of two builds, and one that is gone."""
    folder = project.state.run(project.run([e.RunStarted(time=BEGAN)]))
    machines = [
        Resource(driver="folder", kind="machine", key=key, id=key, run=folder.id, build=build)
        for key, build in (("one", "web@box"), ("two", "db@box"), ("ended", "web@box"))
    ]
    lines = (encode("made", machine, number, 0) for number, machine in enumerate(machines))
    (folder.path / "journal.jsonl").write_bytes(b"".join(lines))

    def find(_: FolderDriver, where: Where) -> list[Resource]:
        assert where.run == folder.id
        return machines[:2]

    monkeypatch.setattr(FolderDriver, "find", find)
    return folder.id


def test_a_machine_is_named_by_its_build_where_several_have_one(
    project: Project, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, Path]] = []
    monkeypatch.setattr(FolderDriver, "screenshot", lambda _, machine, to: taken.append((machine.key, to)))
    assert project.bake("screenshot", "db").out == f"{run}-db-box.png\n"
    assert project.bake("screenshot", run[-4:], "--build", "web@box", "-o", "here.png").out == "here.png\n"
    names = [(key, to.relative_to(project.folder).name) for key, to in taken]
    assert names == [("two", f"{run}-db-box.png"), ("one", "here.png")]


def test_a_picture_takes_the_place_of_a_picture_alone(
    project: Project, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderDriver, "screenshot", lambda *given: given[-1].write_bytes(b"\x89PNG\r\n\x1a\n..."))
    for _ in range(2):
        assert project.bake("screenshot", "-o", "now.png", "--build", "web@box").code == 0
    for name, why in (
        ("imagefile.py", "exists and is not a PNG picture"),
        ("/dev/full", "no place"),
        (".", "a folder"),
    ):
        done = project.bake("screenshot", "-o", name, "--build", "web@box")
        assert (done.code, why in done.err) == (2, True), done.err


def test_of_several_builds_machines_none_is_guessed(project: Project, run: str) -> None:
    for command in ("screenshot", "vnc"):
        done = project.bake(command)
        assert (done.code, f"2 builds of the run {run} have machines" in done.err) == (2, True)
        assert "name one of them: --build web@box, db@box" in done.err


def test_what_cannot_be_shown_is_said(project: Project, run: str) -> None:
    done = project.bake("screenshot", "--build", "other")
    assert (done.code, "there are machines of web@box, db@box" in done.err) == (2, True)
    for command in ("screenshot", "vnc"):
        done = project.bake(command, "db@box")
        assert (done.code, "machines of the driver folder have no screen" in done.err) == (2, True)


def test_a_run_without_machines_has_no_screen(project: Project) -> None:
    project.run([e.RunStarted(time=BEGAN)])
    done = project.bake("vnc")
    assert (done.code, "while a build is under way it has one" in done.err) == (2, True)
