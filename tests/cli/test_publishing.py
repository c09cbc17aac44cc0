"""An image made in one folder cloud and published to another: when, after what, and what is left when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakery.testing.folder.cloud import FolderCloud
from bakery.testing.folder.faults import Fault, Injection
from bakery.testing.kill import KillMatrix

from .conftest import Place

IMAGEFILE = """
import bakery
from bakery.testing.folder import publish
from bakery.testing.folder.driver import Folder


@bakery.source
def here() -> Folder:
    return Folder(cloud="here")


@bakery.source
def there() -> publish.Folder:
    \"\"\"The same image, elsewhere.\"\"\"
    return publish.Folder(cloud="there")


@bakery.task
def hello(m) -> None:
    m.write("/etc/motd", "hello")


@bakery.test
def greets(host) -> None:
    assert host.file("/etc/motd").content_string == "hello"


@bakery.test(only=[there])
def works_there(host) -> None:
    assert "THERE" == "THERE"


@bakery.post
def tell(artifact) -> None:
    print("posted", artifact.build)


@bakery.image(sources=[here, there], builtin_tests=False)
def web() -> None:
    \"\"\"A web image.\"\"\"
"""


@pytest.fixture
def clouds(empty: Place) -> Place:
    empty.write(IMAGEFILE)
    (empty.folder / "there").mkdir()
    return empty


def images(place: Place, cloud: str) -> list[str]:
    return [record["name"] for record in FolderCloud(place.folder / cloud).list("images")]


def built(place: Place) -> list[str]:
    return sorted(image["build"] for image in json.loads(place.bake("images", "--json").out)["images"])


def nothing_else(place: Place, cloud: str) -> bool:
    there = FolderCloud(place.folder / cloud)
    return not list(there.list("machines")) and not list(there.list("keypairs"))


def test_it_is_uploaded_tested_there_and_kept_besides_the_one_made_here(clouds: Place) -> None:
    done = clouds.bake("build")
    assert done.code == 0, done.err
    assert images(clouds, "here") == images(clouds, "there") == ["web"]
    assert built(clouds) == ["web@here", "web@there"]
    assert "[web@there] smoke, 2 of 2 tests passed: ok" in done.err
    assert done.err.index("[web@here] web is kept") < done.err.index("[web@there] smoke")
    assert "posted web@there" in done.err
    assert nothing_else(clouds, "there")
    assert clouds.bake("gc").code == 0


def test_plan_and_list_show_it(clouds: Place) -> None:
    out = clouds.bake("plan").out
    assert "web@there  publishes web of web@here with folder" in out
    assert "tasks" not in out.partition("web@there")[2]
    planned = json.loads(clouds.bake("plan", "--json").out)["builds"]
    assert [(build["publishes"], build["after"]) for build in planned] == [(False, []), (True, ["web@here"])]
    assert "sources  here, there (publishes)" in clouds.bake("list").out


def test_what_has_not_changed_is_not_published_again(clouds: Place) -> None:
    assert clouds.bake("build").code == 0
    first = FolderCloud(clouds.folder / "there").list("images")
    done = clouds.bake("build")
    assert done.code == 0, done.err
    assert "web@there  up to date" in done.err
    assert FolderCloud(clouds.folder / "there").list("images") == first

    clouds.write(IMAGEFILE.replace('"hello"', '"hallo"'))
    assert clouds.bake("build").code == 0
    second = FolderCloud(clouds.folder / "there").list("images")
    assert [record["name"] for record in second] == ["web"]
    assert second[0]["id"] != first[0]["id"]


def test_an_image_made_anew_just_as_it_was_is_not_published_again(clouds: Place) -> None:
    assert clouds.bake("build").code == 0
    first = FolderCloud(clouds.folder / "there").list("images")
    cloud = FolderCloud(clouds.folder / "here")
    cloud.delete("images", cloud.list("images")[0]["id"])
    done = clouds.bake("build")
    assert done.code == 0, done.err
    assert images(clouds, "here") == ["web"]
    assert "publish:" not in done.err
    assert FolderCloud(clouds.folder / "there").list("images") == first


def test_changed_tests_are_run_there_again_without_an_upload(clouds: Place) -> None:
    assert clouds.bake("build").code == 0
    first = FolderCloud(clouds.folder / "there").list("images")
    clouds.write(IMAGEFILE.replace('"THERE" == "THERE"', '"here" != "there"'))
    done = clouds.bake("build")
    assert done.code == 0, done.err
    assert "[web@there] smoke, 2 of 2 tests passed: ok" in done.err
    assert "[web@here] smoke" not in done.err
    assert FolderCloud(clouds.folder / "there").list("images") == first


def test_a_test_that_fails_there_leaves_the_old_image_there_and_the_new_one_here(clouds: Place) -> None:
    assert clouds.bake("build").code == 0
    first = FolderCloud(clouds.folder / "there").list("images")
    clouds.write(IMAGEFILE.replace('"hello"', '"hallo"').replace('"THERE" == "THERE"', '"here" == "there"'))
    done = clouds.bake("build")
    assert done.code == 8
    assert "works_there" in done.err
    assert FolderCloud(clouds.folder / "there").list("images") == first
    assert nothing_else(clouds, "there")
    assert images(clouds, "here") == ["web"]
    assert len(done.out.splitlines()) == 1, "the id of the image that is kept here"


@pytest.mark.parametrize(
    ("fault", "code"), [("quota", 5), ("denied", 5), ("throttled", 0), ("server-error", 0), ("answer-lost", 0)]
)
def test_what_goes_wrong_with_the_upload(clouds: Place, fault: Fault, code: int) -> None:
    FolderCloud(clouds.folder / "there").faults.inject(Injection(call="import_image", fault=fault))
    done = clouds.bake("build")
    assert done.code == code, done.err
    assert images(clouds, "here") == ["web"]
    assert images(clouds, "there") == ([] if code else ["web"])
    assert nothing_else(clouds, "there")


def test_the_target_is_looked_at_before_anything_is_made(clouds: Place) -> None:
    (clouds.folder / "there").rmdir()
    done = clouds.bake("build")
    assert done.code == 4
    assert "there is no cloud in there" in done.err
    assert images(clouds, "here") == []


def test_a_failed_image_is_not_published(clouds: Place) -> None:
    clouds.write(IMAGEFILE.replace('content_string == "hello"', 'content_string == "HELLO"'))
    done = clouds.bake("build")
    assert done.code == 8
    assert "not built, because web@here failed" in done.err
    assert images(clouds, "there") == []


@pytest.mark.parametrize(("words", "there"), [(("--only", "here"), []), (("--only", "there"), ["web"])])
def test_publishing_alone_makes_what_it_needs_and_can_be_left_out(
    clouds: Place, words: tuple[str, ...], there: list[str]
) -> None:
    done = clouds.bake("build", *words)
    assert done.code == 0, done.err
    assert images(clouds, "here") == ["web"]
    assert images(clouds, "there") == there


def test_it_is_also_published_untested_on_request(clouds: Place) -> None:
    done = clouds.bake("build", "--no-test")
    assert done.code == 0, done.err
    assert "smoke" not in done.err
    assert images(clouds, "there") == ["web"]


def test_killed_at_any_point_of_publishing_it_leaves_nothing_behind(clouds: Place) -> None:
    assert clouds.bake("build").code == 0

    def exists() -> set[str]:
        cloud = FolderCloud(clouds.folder / "there")
        records = (*cloud.list("keypairs"), *cloud.list("machines"), *cloud.list("images"))
        return {str(record["name"]) for record in records}

    matrix = KillMatrix(project=clouds.folder, exists=exists, words=("--only", "there", "--no-cache"))
    places = matrix.places()
    first = next(at for at, place in enumerate(places, start=1) if "image" in place and at > len(places) // 2)
    for point in (first, first + 1, first + 2, len(places)):
        killed = matrix.kill_at(point)
        assert killed.left == (), f"{killed.place}: {killed.output}"


def test_the_example_of_a_publisher_is_short() -> None:
    import bakery.testing.folder.publish as example

    assert len(Path(example.__file__).read_text(encoding="utf-8").splitlines()) < 80
