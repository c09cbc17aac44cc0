"""Images of which older versions stay: numbers, which one is current, and going back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bakery.build.kept_images import excess, remove
from bakery.build.versions import claims_its_place, link_current, link_of, roll_back
from bakery.errors import ImagefileError, PreflightError, UsageError
from bakery.model import Artifact
from bakery.state import versions as numbers
from bakery.state.project import State

from .memory import MemoryDriver, Project, project

__all__ = ["project"]

WEB = """
@bakery.task
def motd(m):
    m.write("/etc/motd", "{text}")

@bakery.image(builtin_tests=False, versions={versions})
def web(): ...
"""


@pytest.fixture(autouse=True)
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])


def bake(project: Project, text: str, versions: str = "True", **options: object) -> str:
    """Make an image whose content is this, and return its name."""
    project.write(WEB.format(text=text, versions=versions))
    outcome = project.build(**options)  # type: ignore[arg-type]
    assert outcome.exit_code == 0, outcome.errors
    return outcome.artifacts["web@here"].name


def current(project: Project) -> list[str]:
    return [image.name for image in project.state.images() if numbers.is_current(image)]


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_each_version_has_the_next_number_and_is_current(project: Project) -> None:
    assert [bake(project, text) for text in ("one", "two", "three")] == ["web-1", "web-2", "web-3"]
    assert current(project) == ["web-3"]
    assert project.driver.verbs("keep") == ["keep web-1", "keep web-2", "keep web-3"]


def test_a_front_part_is_counted_by_itself(project: Project) -> None:
    made = [bake(project, "one", "'1.4'"), bake(project, "two", "'1.4'"), bake(project, "three", "'1.5'")]
    assert made == ["web-1.4.0", "web-1.4.1", "web-1.5.0"]


def test_what_has_not_changed_is_no_new_version(project: Project) -> None:
    assert [bake(project, "one"), bake(project, "one")] == ["web-1", "web-1"]


def test_a_number_is_never_given_twice(project: Project) -> None:
    bake(project, "one")
    bake(project, "two")
    project.driver.there.clear()
    project.state.forget_image(project.state.image("web-2"))
    assert bake(project, "three") == "web-3"


def test_where_the_numbers_are_lost_they_go_on_from_the_images(project: Project) -> None:
    bake(project, "one")
    bake(project, "two")
    (project.state.folder / numbers.FILE).unlink()
    assert bake(project, "three") == "web-3"


def test_damaged_numbers_are_no_guess(project: Project) -> None:
    bake(project, "one")
    (project.state.folder / numbers.FILE).write_text("{")
    project.write(WEB.format(text="two", versions="True"))
    outcome = project.build()
    assert isinstance(outcome.errors[""], PreflightError)
    assert outcome.exit_code == 4


@pytest.mark.parametrize("wrong", ["'v1'", "'1.'", "3", "None", "['1']", "'1.4\\n'"])
def test_what_versions_cannot_be_is_refused(project: Project, wrong: str) -> None:
    project.write(WEB.format(text="one", versions=wrong))
    with pytest.raises(ImagefileError, match="is not what versions= takes"):
        project.build()


# ---- which one is meant ---------------------------------------------------------------------------------------------


def test_the_name_without_a_version_means_the_current_one(project: Project) -> None:
    bake(project, "one")
    bake(project, "two")
    state = project.state
    assert [state.image(name).name for name in ("web", "web@here", "web-1", "web-2")] == [
        "web-2",
        "web-2",
        "web-1",
        "web-2",
    ]


def back(project: Project, name: str = "web", to: str | None = None) -> list[tuple[str, str]]:
    drivers = {"memory": project.driver}
    old, new = roll_back(project.state, name, to, drivers.__getitem__)
    return [(old.name, new.name)]


def test_going_back_goes_one_version_back_each_time(project: Project) -> None:
    for text in ("one", "two", "three"):
        bake(project, text)
    assert [back(project), back(project)] == [[("web-3", "web-2")], [("web-2", "web-1")]]
    assert (current(project), project.state.image("web").name) == (["web-1"], "web-1")
    with pytest.raises(UsageError, match="web has no version before the current one") as raised:
        back(project)
    assert raised.value.hint == "versions: 1, 2, 3"
    assert back(project, to="3") == [("web-1", "web-3")]


@pytest.mark.parametrize(
    ("name", "to", "what", "hint"),
    [
        ("web", "7", "web has no version 7", "versions: 1, 2"),
        ("wbe", None, "no image 'wbe' has versions", "images with versions: web"),
    ],
)
def test_what_is_not_there_cannot_be_gone_back_to(
    project: Project, name: str, to: str | None, what: str, hint: str
) -> None:
    bake(project, "one")
    bake(project, "two")
    with pytest.raises(UsageError, match=what) as raised:
        back(project, name, to)
    assert raised.value.hint == hint


def test_an_image_that_is_gone_is_not_gone_back_to(project: Project) -> None:
    bake(project, "one")
    first = project.state.image("web")
    bake(project, "two")
    del project.driver.there[first.id]
    with pytest.raises(UsageError, match="web-1 is gone or was changed"):
        back(project)
    assert current(project) == ["web-2"]


def test_one_without_versions_says_how_to_have_them(project: Project) -> None:
    bake(project, "one", "False")
    with pytest.raises(UsageError) as raised:
        back(project)
    assert raised.value.hint == "@bakery.image(versions=True) keeps them"


def test_what_somebody_went_back_to_stays_until_there_is_something_new(project: Project) -> None:
    bake(project, "one")
    bake(project, "two")
    back(project)
    assert bake(project, "two") == "web-2"
    assert current(project) == ["web-1"]
    assert "web-2 is what the imagefile makes, but somebody went back to web-1" in project.notices
    assert bake(project, "three") == "web-3"
    assert current(project) == ["web-3"]


def test_a_change_that_is_taken_back_makes_the_older_version_current_again(project: Project) -> None:
    bake(project, "one")
    bake(project, "two")
    assert bake(project, "one") == "web-1"
    assert current(project) == ["web-1"]


def test_an_image_without_a_version_has_no_place_to_claim(project: Project) -> None:
    assert claims_its_place(Artifact(driver="memory", id="1", name="web"), project.state) == ""


# ---- pruning and deleting -------------------------------------------------------------------------------------------


def version(number: int, *, current: bool = False, build: str = "web@here") -> Artifact:
    data = {numbers.FAMILY: "web", numbers.VERSION: str(number), numbers.CURRENT: current}
    return Artifact(driver="memory", id=f"{build}{number}", name=f"web-{number}", build=build, data=data)


@pytest.mark.parametrize(
    ("keep", "gone"),
    [(0, ["web-1", "web-2", "web-3", "web-4"]), (1, ["web-1", "web-3", "web-4"]), (2, ["web-1", "web-3"]), (4, [])],
)
def test_the_current_version_is_one_of_those_that_stay(keep: int, gone: list[str]) -> None:
    images = [version(number, current=number == 2) for number in (1, 2, 3, 4)]
    assert [image.name for image in excess(images, keep)] == gone


def test_each_source_has_versions_of_its_own() -> None:
    images = [version(1), version(2, current=True), version(1, build="web@there", current=True)]
    assert [image.id for image in excess(images, 1)] == ["web@here1"]


def test_where_the_current_one_is_deleted_the_newest_that_is_left_is_current(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "delete", lambda *_: None)
    for text in ("one", "two", "three"):
        bake(project, text)
    remove(project.state.image("web-3"), project.state, lambda _: project.driver)
    assert current(project) == ["web-2"]


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[State, list[Artifact]]:
    """Two versions that are files."""
    state = State(tmp_path / ".bakery", tmp_path / "cache")
    state.prepare()
    made: list[Artifact] = []
    for number in (1, 2):
        path = state.images_folder / f"web-{number}.qcow2"
        path.write_text(str(number))
        made.append(replace(version(number, current=True), id=str(path), format="qcow2"))
        state.add_image(made[-1])
        link_current(made[-1])
    return state, made


def test_the_name_without_a_version_leads_to_the_current_file(files: tuple[State, list[Artifact]]) -> None:
    state, (first, second) = files
    path = link_of(second)
    assert path == state.images_folder / "web.qcow2"
    assert (path.read_text(), str(path.readlink())) == ("2", "web-2.qcow2")
    roll_back(state, "web", None, lambda _: MemoryDriver(there={first.id: None}))  # type: ignore[dict-item]
    assert path.read_text() == "1"


def test_an_image_from_before_there_were_versions_stays(files: tuple[State, list[Artifact]]) -> None:
    state, (first, _) = files
    path = state.images_folder / "web.qcow2"
    path.unlink()
    path.write_text("old")
    assert "is an image from before there were versions" in link_current(first)
    assert path.read_text() == "old"


def test_where_a_link_cannot_be_made_that_is_said(files: tuple[State, list[Artifact]]) -> None:
    _, (first, _) = files
    gone = replace(first, id=f"/nowhere/at/all/{first.path.name}")
    assert "does not lead to the new version" in link_current(gone)


def test_the_last_version_takes_the_link_with_it(
    files: tuple[State, list[Artifact]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "delete", lambda *_: None)
    state, (first, second) = files
    remove(second, state, lambda _: MemoryDriver())
    link = state.images_folder / "web.qcow2"
    assert link.read_text() == "1"
    remove(state.image(first.id), state, lambda _: MemoryDriver())
    assert not link.is_symlink()
