"""How long a verdict holds: what the tests are, what they took in on this host; and what is said of who lacks one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.build import verdict_key
from bakery.build.scope import Scope
from bakery.build.up_to_date import UpToDateImage, find_up_to_date_image
from bakery.build.verdict_key import files_of, holds, noted
from bakery.build.verdicts import mark_failed, passed, warn_of_base
from bakery.cache.inputs.external import LocalInput
from bakery.disk.bases.cloud_image import CloudImage
from bakery.errors import DriverError
from bakery.events import Notice
from bakery.model import Artifact
from bakery.smoke.job import Read
from bakery.state.project import State

from .memory import MemoryDriver, Project, project

__all__ = ["project"]

IMAGE = """
import pytest

@pytest.fixture
def port():
    return 80

@bakery.variables
class Vars:
    release: int = 12

@bakery.test
def answers(host, port, v):
    assert v.release

@bakery.image(builtin_tests=False, hygiene=False)
def web(): ...
"""


def key(project: Project, text: str = IMAGE) -> str | None:
    project.write(text)
    return verdict_key.tests_key(project.run().jobs["web@here"], project.state.cache)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("assert v.release", "assert v.release > 1"),
        ("return 80", "return 443"),
        ("builtin_tests=False", "builtin_tests=['boot_is_finished']"),
        ("hygiene=False", "hygiene=True"),
        ("builtin_tests=False", "builtin_tests=False, strict_host=False"),
        ("import pytest", "import pytest\npytestmark = pytest.mark.skip"),
    ],
)
def test_whatever_can_change_a_verdict_changes_its_key(project: Project, old: str, new: str) -> None:
    before = key(project)
    assert old in IMAGE
    assert before not in (None, key(project, IMAGE.replace(old, new, 1)))


def test_what_the_tests_do_not_use_leaves_it_as_it_is(project: Project) -> None:
    more = "\n@bakery.task\ndef nobody(m): ...\n\n@pytest.fixture\ndef unused():\n    return 1\n"
    before = key(project, IMAGE + "\n# a comment\n")
    assert before == key(project, IMAGE.replace("def web", "def web", 1) + more)


def test_a_test_that_cannot_be_followed_has_no_key_and_is_run_each_time(project: Project) -> None:
    text = IMAGE.replace("import pytest", "import pytest\nthings = (n for n in ())").replace(
        "assert v.", "assert things or v."
    )
    assert key(project, text) is None


# ---- what tests took in ----------------------------------------------------------------------------------------------


def test_a_variable_counts_where_a_test_reads_it(project: Project) -> None:
    project.write(IMAGE)
    job, cache = project.run().jobs["web@here"], project.state.cache
    data = {"tests_read": noted([("variable", "release", None)], job, cache)}
    assert holds(data, job, cache)
    project.write(IMAGE.replace("release: int = 12", "release: int = 13"))
    job = project.run().jobs["web@here"]
    assert not holds(data, job, cache)
    assert verdict_key.tests_key(job, cache) == key(project)


@pytest.fixture
def scope(project: Project) -> Iterator[Scope]:
    project.write(IMAGE)
    (project.folder / "expected.txt").write_text("nginx")
    run = project.run(test=True)
    with Scope(run, run.jobs["web@here"]) as scope:
        yield scope


def took_in(project: Project) -> list[Read]:
    return [
        ("file", str(project.folder / "expected.txt"), None),
        ("listing", str(project.folder), None),
        ("env", "EXPECTED", None),
    ]


def image(scope: Scope, **fields: Any) -> Artifact:
    made = Artifact(driver="memory", id="image-1", name="web", build="web@here", **fields)
    scope.run.state.add_image(made)
    return made


def test_a_verdict_holds_while_what_the_tests_took_in_is_as_it_was(
    project: Project, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope.tests_read = tuple(took_in(project))
    data, job, cache = passed(image(scope), scope).data, scope.job, project.state.cache
    assert holds(data, job, cache)
    monkeypatch.setenv("EXPECTED", "something")
    assert not holds(data, job, cache)
    monkeypatch.delenv("EXPECTED")
    assert holds(data, job, cache)
    (project.folder / "expected.txt").write_text("apache")
    assert not holds(data, job, cache)


def test_a_file_that_comes_into_a_folder_that_was_listed_ends_it(project: Project, scope: Scope) -> None:
    scope.tests_read = tuple(took_in(project))
    data = passed(image(scope), scope).data
    (project.folder / "more.txt").touch()
    assert not holds(data, scope.job, project.state.cache)


def test_what_the_tests_took_in_is_for_the_depfile(project: Project, scope: Scope) -> None:
    scope.tests_read = tuple(took_in(project))
    data = passed(image(scope), scope).data
    expected = {LocalInput("file", project.folder / "expected.txt"), LocalInput("listing", project.folder / ".")}
    assert set(files_of(data, project.folder)) == expected
    assert expected <= scope.run.inputs


def test_a_file_that_was_changed_while_the_tests_ran_gives_no_verdict_to_reuse(project: Project, scope: Scope) -> None:
    file = str(project.folder / "expected.txt")
    scope.tests_read = (("file", file, (1, 2, 3)),)  # how it looked when the test read it
    verdict = passed(image(scope), scope)
    assert (verdict.verdict, verdict.data["tests"], verdict.data["tests_read"]) == ("passed", None, None)


def test_what_cannot_be_compared_gives_none_either(project: Project, scope: Scope) -> None:
    job = replace(scope.job, variables=type("Vars", (), {"odd": (n for n in "")})())
    assert noted([("variable", "odd", None)], job, project.state.cache) is None
    data = {"tests_read": [["variable", "odd", "0" * 64, "", []]]}
    assert not holds(data, job, project.state.cache)


def test_an_image_of_an_older_bakery_has_no_such_notes(project: Project, scope: Scope) -> None:
    assert holds({}, scope.job, project.state.cache)
    assert list(files_of({"tests_read": None}, project.folder)) == []


# ---- an image that is up to date -------------------------------------------------------------------------------------


def found(project: Project, **options: Any) -> UpToDateImage | None:
    run = project.run(**{"test": True, **options})
    return find_up_to_date_image(run.jobs["web@here"], run, None, ask=True)


@pytest.fixture
def built(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose image was made, and not tested."""
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    project.write(IMAGE)
    project.build()
    project.driver.asked.clear()
    return project


def test_an_image_that_was_not_tested_is_up_to_date_only_for_who_does_not_ask(built: Project) -> None:
    assert [it.tested for it in (found(built), found(built, test=False)) if it] == [False, True]
    assert built.driver.asked == []


def test_an_image_that_passed_its_tests_of_today_is_up_to_date(built: Project) -> None:
    run = built.run(test=True)
    (untested,) = built.state.images()
    with Scope(run, run.jobs["web@here"]) as scope:
        built.state.mark_image(passed(untested, scope))
    assert [it.tested for it in [found(built)] if it] == [True]
    built.write(IMAGE.replace("assert v.release", "assert v.release > 1"))
    assert [it.tested for it in [found(built)] if it] == [False]


@pytest.mark.parametrize("options", [{"cache": False}, {"refresh": frozenset({"*"})}])
def test_whoever_wants_it_made_anew_is_given_none(built: Project, options: dict[str, Any]) -> None:
    assert found(built, **options) is None


@pytest.mark.parametrize("error", [DriverError("no way there"), NotImplementedError()])
def test_an_image_that_nobody_can_ask_for_is_not_reused(
    built: Project, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> bool:
        raise error

    monkeypatch.setattr(MemoryDriver, "intact", broken)
    assert found(built) is None


# ---- who stands on it ------------------------------------------------------------------------------------------------


def warnings(project: Project, scope: Scope, base: Any, made: Artifact | None = None) -> list[str]:
    build = replace(scope.build, boot=replace(scope.build.boot, base=base))
    project.events.clear()
    warn_of_base(scope.run, build, made)
    return project.notices


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("untested", ["it stands on web, which was not tested"]),
        ("failed", ["it stands on web, which failed its tests"]),
        ("passed", []),
        ("", []),
    ],
)
def test_whoever_stands_on_an_image_hears_what_its_tests_said(
    project: Project, scope: Scope, verdict: str, words: list[str]
) -> None:
    base = image(scope, verdict=verdict)
    assert warnings(project, scope, None, base) == words
    assert warnings(project, scope, base) == words
    if words:
        assert project.of(Notice)[0].hint == "`bake test web` tests it"


def test_an_image_of_another_project_is_found_by_its_file(project: Project, scope: Scope, tmp_path: Path) -> None:
    path = tmp_path / "their project/.bakery/images/web.qcow2"
    theirs = State(path.parents[1], tmp_path / "cache")
    theirs.add_image(Artifact(driver="qemu", id=str(path), name="theirs", verdict="failed", format="qcow2"))
    base = CloudImage(path.as_uri(), "sha256:" + "0" * 64)
    assert warnings(project, scope, base) == ["it stands on theirs, which failed its tests"]
    (path.parents[1] / "catalogue.json").write_text("{")
    assert warnings(project, scope, base) == []  # another project's trouble


@pytest.mark.parametrize(
    "base", [None, "debian-12", CloudImage("https://example.org/.bakery/a.qcow2", "sha256:" + "0" * 64)]
)
def test_of_what_nobody_here_made_nothing_is_said(project: Project, scope: Scope, base: Any) -> None:
    assert warnings(project, scope, base) == []


def test_a_mark_that_cannot_be_written_does_not_hide_why_the_image_failed(
    project: Project, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    failed = image(scope, verdict="passed")
    monkeypatch.setattr(State, "mark_image", full)
    assert mark_failed(failed, scope)
    assert project.notices == ["the catalogue does not say that web failed: [Errno 28] No space left on device"]
    assert not mark_failed(replace(failed, id="another"), scope)


def test_the_environment_is_this_process_s(scope: Scope, project: Project) -> None:
    data = {"tests_read": noted([("environ", "", None)], scope.job, project.state.cache)}
    assert holds(data, scope.job, project.state.cache)
    os.environ["BAKERY_TEST_OF_VERDICTS"] = "1"
    try:
        assert not holds(data, scope.job, project.state.cache)
    finally:
        del os.environ["BAKERY_TEST_OF_VERDICTS"]
