"""Pytest suites in `tests=`: what surely is not there is told when the imagefile is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.errors import ImagefileError
from bakery.imagefile import loader
from bakery.imagefile.describe import describe
from bakery.imagefile.plan import plan
from bakery.imagefile.suites import check, is_suite
from bakery.imagefile.variables import Settings

FILE = """
from pathlib import Path
import bakery
from bakery.model import Source

@bakery.source
def here():
    return Source(base=None)

@bakery.test
def runs(host):
    pass

@bakery.image(tests={tests})
def web():
    return None
"""
SUITE = """
import sys
from helpers import imported, again as renamed

LATER = lambda host: None

if sys.version_info:
    def test_either(host): ...
else:
    def test_or(host): ...

try:
    import json
except ImportError:
    test_without = None

def test_plain(host): ...

class TestWeb:
    def test_port(self, host): ...
    class TestInner:
        def test_deep(self, host): ...

class TestChild(TestWeb):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_web.py").write_text(SUITE)
    (tmp_path / "tests/cases.yaml").write_text("")
    return tmp_path


def load(folder: Path, tests: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the suites and the functions of the image."""
    file = folder / "imagefile.py"
    file.write_text(FILE.format(tests=tests))
    (build,) = plan(loader.load(file), Settings()).builds
    return build.suites, [step.name for step in build.tests]


def test_functions_and_suites_stand_in_one_list(folder: Path) -> None:
    both = '["tests/", runs, "tests/test_web.py::TestWeb", Path("tests/test_web.py")]'
    assert load(folder, both) == (("tests/", "tests/test_web.py::TestWeb", "tests/test_web.py"), ["runs"])
    assert load(folder, '("tests", runs)') == (("tests",), ["runs"])
    assert load(folder, "None") == ((), ["runs"])


def test_suites_are_shown_with_the_rest(folder: Path) -> None:
    load(folder, '["tests/", runs]')
    (image,) = describe(loader.load(folder / "imagefile.py"))["images"]
    assert (image["suites"], [test["name"] for test in image["tests"]]) == (["tests/"], ["runs"])


@pytest.mark.parametrize(
    "node",
    [
        "test_plain",
        "test_either",
        "test_or",
        "test_without",
        "imported",
        "renamed",
        "LATER",
        "TestWeb",
        "TestWeb::test_port",
        "TestWeb::TestInner::test_deep[a::b]",
        "TestChild::test_port",
        "test_plain[bakery://web]",
    ],
)
def test_a_node_id_that_the_file_has_is_taken(folder: Path, node: str) -> None:
    check(f"tests/test_web.py::{node}", folder, "tests=")


@pytest.mark.parametrize(
    ("suite", "what", "hint"),
    [
        ("test/", "no such file or folder", "did you mean tests?"),
        ("tests/test_wep.py", "no such file or folder", "did you mean test_web.py?"),
        ("nowhere/deep/test_x.py", "no such file or folder", ""),
        ("tests/test_web.py::TestWep", "test_web.py has no TestWep", "did you mean TestWeb?"),
        ("tests/test_web.py::TestWeb::test_prot", "has no test_prot", "did you mean test_port?"),
        ("tests/test_web.py::zzz", "has no zzz", "there are: "),
        ("tests::TestWeb", "tests is a folder", ""),
    ],
)
def test_what_is_not_there_is_an_error_with_the_images_line(folder: Path, suite: str, what: str, hint: str) -> None:
    with pytest.raises(ImagefileError, match="tests= of image web names") as raised:
        load(folder, f'["{suite}"]')
    assert what in raised.value.what
    assert hint in raised.value.hint
    assert raised.value.where is not None
    assert raised.value.where.line > 10


@pytest.mark.parametrize("text", ["from helpers import *\n", "globals()['test_made'] = print\n", "exec('x = 1')\n"])
def test_of_a_file_that_makes_its_names_nothing_is_said(folder: Path, text: str) -> None:
    (folder / "tests/test_web.py").write_text(text)
    check("tests/test_web.py::test_made", folder, "tests=")


def test_a_file_that_is_no_python_is_pytests_matter_and_one_that_is_broken_is_told(folder: Path) -> None:
    check("tests/cases.yaml::anything", folder, "tests=")
    (folder / "tests/test_web.py").write_text("def broken(:\n")
    with pytest.raises(ImagefileError, match="syntax error") as raised:
        check("tests/test_web.py::test_x", folder, "tests=")
    assert str(raised.value.where).endswith("test_web.py:1")
    (folder / "tests/test_web.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ImagefileError, match="cannot be read"):
        check("tests/test_web.py::test_x", folder, "tests=")


def test_a_suite_is_named_once(folder: Path) -> None:
    with pytest.raises(ImagefileError, match="names 'tests/' twice"):
        load(folder, '["tests/", "tests/"]')


def test_a_name_in_quotes_is_no_suite(folder: Path) -> None:
    with pytest.raises(ImagefileError, match="tests= of image web holds 'runs'") as raised:
        load(folder, '["runs"]')
    assert "without quotes" in raised.value.hint
    assert "is a path" in raised.value.hint


@pytest.mark.parametrize(
    ("thing", "answer"),
    [("tests", True), ("a/b", True), ("x.py", True), ("x::y", True), (Path("x"), True), ("x", False), ("", False)],
)
def test_what_names_a_suite(folder: Path, thing: object, answer: bool) -> None:
    assert is_suite(thing, folder) is answer
    assert is_suite(3, folder) is False
