"""What nobody tested is said to be that; what failed later is marked so; the inspection always takes place."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .conftest import Place

IMAGEFILE = '''"""An image on an image, each a disk file as well."""

from pathlib import Path

import bakery
from bakery.testing.folder.driver import Folder

HERE = Path(__file__).parent


@bakery.variables
class Vars:
    token: bakery.Secret = bakery.secret(env="TEST_PASSWORD")


@bakery.source
def box() -> Folder:
    return Folder(cloud={cloud!r}, disk="raw")


@bakery.task
def hello(m, v) -> None:
    m.write("/etc/motd", "hello")
    if {leaks}:
        m.write("/etc/token", v.token)


@bakery.test
def motd(host) -> None:
    assert host.file("/etc/motd").content_string == (HERE / "expected").read_text()


@bakery.image(sources=[box], tasks=[hello], tests=[motd], builtin_tests=False)
def golden() -> None: ...


@bakery.source
def on_golden() -> Folder:
    return Folder(cloud={cloud!r}, base=golden)


@bakery.image(sources=[on_golden], tests=[motd], builtin_tests=False)
def web() -> None: ...
'''


@pytest.fixture
def images(empty: Place, tmp_path: Path, secret: str) -> Place:
    """Two images, of which one stands on the other."""
    write(empty, tmp_path)
    empty.write("hello", "expected")
    return empty


def write(place: Place, tmp_path: Path, *, leaks: bool = False) -> None:
    place.write(IMAGEFILE.format(cloud=str(tmp_path / "cloud"), leaks=leaks))


def verdicts(place: Place) -> dict[str, str]:
    return {image["name"]: image["verdict"] for image in json.loads(place.bake("images", "--json").out)["images"]}


def run_folder(place: Place) -> Path:
    return max((place.folder / ".bakery/runs").iterdir())


def test_an_image_that_nobody_tested_is_said_to_be_that_everywhere(images: Place) -> None:
    done = images.bake("golden", "--no-test")
    assert done.code == 0, done.err
    assert ", not tested\n" in done.err
    assert "  NOT TESTED\n" in done.err
    assert verdicts(images) == {"golden": "untested"}
    assert "untested" in images.bake("images").out
    assert json.loads(next(run_folder(images).glob("artifact-*.json")).read_text())["verdict"] == "untested"
    case = ET.parse(run_folder(images) / "junit.xml").find(".//testcase[@name='smoke']/skipped")  # noqa: S314  ours
    assert case is not None
    assert "not tested" in (run_folder(images) / "report.html").read_text()
    assert "  NOT TESTED\n" in images.bake("golden", "--no-test").err  # up to date, and still untested


def test_a_tested_image_is_listed_as_that(images: Place) -> None:
    done = images.bake("--format", "json")
    assert done.code == 0, done.err
    kept = [event for event in map(json.loads, done.out.splitlines()) if event["type"] == "artifact-kept"]
    assert [event["verdict"] for event in kept] == ["passed", "passed"]
    assert verdicts(images) == {"golden": "passed", "web": "passed"}
    assert "not tested" not in done.err


def test_an_image_is_inspected_without_tests_too(images: Place, tmp_path: Path) -> None:
    write(images, tmp_path, leaks=True)
    done = images.bake("golden", "--no-test")
    assert done.code == 8, done.err
    assert "/etc/token" in done.err
    assert "no image was kept" in done.err
    assert verdicts(images) == {}


def test_a_later_test_gives_the_image_its_verdict(images: Place) -> None:
    assert images.bake("golden", "--no-test").code == 0
    assert images.bake("test", "golden").code == 0
    assert verdicts(images) == {"golden": "passed"}
    assert "up to date" in images.bake("golden").err  # it need not be tested again
    images.write("other", "expected")
    done = images.bake("test", "golden")
    assert done.code == 8
    assert "marked as failed" in done.err
    assert verdicts(images) == {"golden": "failed"}
    assert "failed" in images.bake("images").out
    images.write("hello", "expected")
    assert images.bake("golden").code == 0
    assert verdicts(images) == {"golden": "passed"}


def test_an_image_named_by_its_file_gets_its_verdict_as_well(images: Place) -> None:
    path = images.bake("golden", "--no-test").out.strip()
    assert images.bake("test", path).code == 0
    assert verdicts(images) == {"golden": "passed"}


def test_an_image_that_fails_when_a_build_tests_it_again_is_marked(images: Place) -> None:
    assert images.bake("golden", "--no-test").code == 0
    images.write("other", "expected")
    done = images.bake("golden")
    assert done.code == 8
    assert "kept before, and is marked as failed" in done.err
    assert verdicts(images) == {"golden": "failed"}


def test_no_image_stands_silently_on_one_that_nobody_tested(images: Place) -> None:
    done = images.bake("web", "--no-test")
    assert done.code == 0, done.err
    assert "warning: it stands on golden, which was not tested (`bake test golden` tests it)" in done.err
    images.write("other", "expected")
    done = images.bake("web")  # tests the base first, and stops there
    assert done.code == 8
    assert "not built, because golden@box failed" in done.err
    assert "which failed its tests" in images.bake("web", "--no-test").err


def test_a_base_out_of_another_project_is_looked_up_in_its_catalogue(images: Place, tmp_path: Path) -> None:
    path = images.bake("golden", "--no-test").out.strip()
    text = (images.folder / "imagefile.py").read_text()
    other = f"""
from bakery import Artifact


@bakery.source
def beside() -> Folder:
    from bakery.drivers import CloudImage

    return Folder(cloud={str(tmp_path / "cloud")!r}, base=CloudImage("file://{path}", checksum="sha256:{"0" * 64}"))


@bakery.image(sources=[beside], builtin_tests=False)
def other() -> None: ...
"""
    images.write(text + other)
    assert "it stands on golden, which was not tested" in images.bake("other").err
