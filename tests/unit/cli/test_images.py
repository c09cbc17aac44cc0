"""`bake images`, `rm`, `prune`: what was built here, shown and deleted."""

from __future__ import annotations

import pytest

from bakery.state.versions import CURRENT, FAMILY, VERSION
from bakery.testing.folder.faults import Injection

from .conftest import Project


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Answer each question with this, and return the list of questions."""
    asked: list[str] = []

    def prompt(question: str) -> str:
        asked.append(question)
        return text

    monkeypatch.setattr("click.termui.visible_prompt_func", prompt)
    return asked


def left(project: Project) -> list[str]:
    """Names of the images that the catalogue has; the cloud must have the same."""
    images = [(image.name, image.id) for image in project.state.images()]
    assert sorted(number for _, number in images) == [record["id"] for record in project.cloud.list("images")]
    return [name for name, _ in images]


# ---- images ---------------------------------------------------------------------------------------------------------


def test_where_nothing_was_built_that_is_said(project: Project) -> None:
    done = project.bake("images")
    assert (done.code, done.out) == (0, "")
    assert done.err == "nothing has been built here yet; `bake build` does\n"


def test_images_are_shown_the_newest_last(project: Project) -> None:
    first, second = project.image("web-bookworm", 1), project.image("web-trixie", 2, verdict="untested")
    head, *rows = project.bake("images").rows
    assert head == ["NAME", "BUILD", "CREATED", "SIZE", "TESTS", "ID"]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("web-bookworm", "passed", first.id),
        ("web-trixie", "untested", second.id),
    ]
    assert rows[0][4:6] == ["3.0", "MiB"]


def test_images_as_json_are_data(project: Project) -> None:
    image = project.image()
    data = project.bake("images", "--json").data
    assert (data["version"], [shown["id"] for shown in data["images"]]) == (1, [image.id])
    assert data["images"][0]["settings"]["cloud"] == str(project.cloud.path)
    assert "status" not in data["images"][0]


def test_without_images_json_is_an_empty_list(project: Project) -> None:
    done = project.bake("images", "--json")
    assert (done.data, done.err) == ({"version": 1, "images": []}, "")


def test_a_check_tells_what_is_gone(project: Project) -> None:
    here, gone = project.image(), project.image()
    project.cloud.delete("images", gone.id)
    data = project.bake("images", "--check", "--json").data
    assert {image["id"]: image["status"] for image in data["images"]} == {here.id: "ok", gone.id: "missing or changed"}
    assert "missing or changed" in project.bake("images", "--check").out


def test_a_check_of_a_provider_that_does_not_answer_says_so(project: Project) -> None:
    project.image()
    project.cloud.faults.inject(Injection(call="list_images", fault="denied", times=9))
    assert project.bake("images", "--check", "--json").data["images"][0]["status"].startswith("unknown: ")


def test_a_damaged_catalogue_is_no_guess(project: Project) -> None:
    project.image()
    path = project.folder / ".bakery/catalogue.json"
    path.write_text(path.read_text().replace("web-trixie", "web-trixiX"))
    done = project.bake("images")
    assert (done.code, done.out) == (4, "")
    assert "the catalogue of images is damaged" in done.err


# ---- rm -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["name", "id", "build"])
def test_an_image_is_deleted_by_any_of_its_names(project: Project, by: str) -> None:
    image = project.image()
    project.image("db", build="db@box")
    done = project.bake("rm", "--yes", str(getattr(image, by)))
    assert (done.code, done.out) == (0, f"deleted web-trixie  {image.id}\n")
    assert left(project) == ["db"]


def test_of_several_images_of_a_name_the_newest_is_deleted(project: Project) -> None:
    old, new = project.image(day=1), project.image(day=2)
    assert project.bake("rm", "-y", "web-trixie").out == f"deleted web-trixie  {new.id}\n"
    assert [image.id for image in project.state.images()] == [old.id]


def test_an_image_that_is_named_twice_is_deleted_once(project: Project) -> None:
    old, new = project.image(day=1), project.image(day=2)
    assert project.bake("rm", "-y", "web-trixie", new.id).out == f"deleted web-trixie  {new.id}\n"
    assert [image.id for image in project.state.images()] == [old.id]


def test_where_one_of_the_names_is_wrong_nothing_is_deleted(project: Project) -> None:
    project.image()
    done = project.bake("rm", "-y", "web-trixie", "wbe")
    assert done.code == 2
    assert "no image 'wbe' was built here" in done.err
    assert "images: web-trixie" in done.err
    assert left(project) == ["web-trixie"]


@pytest.mark.parametrize(
    ("text", "names", "told"),
    [("y", [], ""), ("n", ["web-trixie"], "nothing was deleted"), ("", ["web-trixie"], "nothing")],
)
def test_it_is_asked_before_anything_is_deleted(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str, names: list[str], told: str
) -> None:
    image = project.image()
    asked = answer(monkeypatch, text)
    done = project.bake("rm", "web-trixie")
    assert done.code == 0
    assert len(asked) == 1
    assert f"web-trixie  {image.id}" in done.err
    assert told in done.err
    assert left(project) == names


def test_where_nobody_can_answer_it_is_said_how_to_do_without(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.image(verdict="untested")

    def ended(_: object) -> str:
        raise EOFError

    monkeypatch.setattr("click.termui.visible_prompt_func", ended)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    done = project.bake("prune", "--keep", "0")
    assert done.code == 2
    assert "nobody is there to say yes" in done.err
    assert "--yes" in done.err
    assert "NOT TESTED" in done.err
    assert left(project) == ["web-trixie"]


@pytest.mark.parametrize(("count", "question"), [(1, "Delete 1 image?"), (2, "Delete 2 images?")])
def test_the_question_says_how_many(
    project: Project, monkeypatch: pytest.MonkeyPatch, count: int, question: str
) -> None:
    for day in range(1, count + 1):
        project.image(day=day)
    asked = answer(monkeypatch, "n")
    done = project.bake("prune", "--keep", "0")
    assert question in done.err + "".join(asked)


def test_an_image_that_the_provider_keeps_stays_in_the_catalogue(project: Project) -> None:
    image = project.image()
    project.cloud.faults.inject(Injection(call="delete_images", fault="immortal"))
    done = project.bake("rm", "-y", "web-trixie")
    assert (done.code, done.out) == (5, "")
    assert "it is in use" in done.err
    assert [kept.id for kept in project.state.images()] == [image.id]


def test_an_image_that_is_gone_already_is_taken_out_of_the_catalogue(project: Project) -> None:
    image = project.image()
    project.cloud.delete("images", image.id)
    assert project.bake("rm", "-y", "web-trixie").code == 0
    assert project.state.images() == []


# ---- prune ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ([], [3]),
        (["--keep", "1"], [3]),
        (["--keep", "2"], [2, 3]),
        (["--keep", "3"], [1, 2, 3]),
        (["--keep", "0"], []),
    ],
)
def test_so_many_of_the_newest_stay_of_each_name(project: Project, words: list[str], days: list[int]) -> None:
    for day in (1, 2, 3):
        project.image("web-trixie", day)
    project.image("db", 1, build="db@box")
    assert project.bake("prune", "--yes", *words).code == 0
    images = project.state.images()
    assert [image.created.day for image in images if image.name == "web-trixie" and image.created] == days
    assert [image.name for image in images if image.name == "db"] == (["db"] if days else [])


def test_a_dry_run_says_what_would_go_and_deletes_nothing(project: Project) -> None:
    old, _ = project.image(day=1), project.image(day=2)
    assert project.bake("prune", "--dry-run").out == f"would delete web-trixie  {old.id}\n"
    assert len(left(project)) == 2


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--yes"]])
def test_where_nothing_is_to_be_deleted_that_is_said(project: Project, words: list[str]) -> None:
    project.image()
    done = project.bake("prune", *words)
    assert (done.code, done.out, done.err) == (0, "", "nothing to delete\n")


@pytest.mark.parametrize("keep", ["-1", "many", "1.5", ""])
def test_a_number_of_images_that_is_none_is_refused(project: Project, keep: str) -> None:
    done = project.bake("prune", "--keep", keep)
    assert done.code == 2
    assert "'--keep'" in done.err


# ---- rollback -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("passed", ""), ("untested", "web-1.0.0 was never tested"), ("failed", "web-1.0.0 did not pass its tests")],
)
def test_a_version_that_did_not_pass_is_not_gone_back_to_without_a_word(
    project: Project, verdict: str, said: str
) -> None:
    for day, (version, result, current) in enumerate([("1.0.0", verdict, False), ("1.0.1", "passed", True)], start=1):
        data = {FAMILY: "web", VERSION: version, CURRENT: current}
        project.image(f"web-{version}", day, verdict=result, build="web@box", data=data)
    done = project.bake("rollback", "web")
    assert done.code == 0
    assert done.out.startswith("web@box: web-1.0.0 in place of web-1.0.1")
    assert said in done.err
    assert ("warning: " in done.err) is bool(said)
