"""Pytest suites on an image: named in the imagefile, or on the command line; one report, one verdict."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .conftest import Place
from .test_asking import Terminal

IMAGEFILE = """
from pathlib import Path

import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def box() -> Folder:
    return Folder(cloud={cloud!r}, disk="raw")


@bakery.task
def hello(m) -> None:
    m.write("/etc/motd", "hello")


@bakery.test
def has_motd(host) -> None:
    assert host.file("/etc/motd").exists


@bakery.image(tests={tests}, builtin_tests=False)
def web() -> None: ...
"""
CONFTEST = """
from pathlib import Path

import pytest

EXPECTED = Path(__file__).with_name("expected.txt")


@pytest.fixture(scope="module")
def expected(host):
    return EXPECTED.read_text()
"""
SUITE = """
import pytest


class TestMotd:
    def test_says(self, host, expected):
        assert host.file("/etc/motd").content_string == expected

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["root", "nobody"])
    def test_user(self, host, name):
        assert host.file("/etc/motd").exists
"""
OTHER = "def test_other(host):\n    assert host.file('/etc/motd').content_string == 'other'\n"
INI = "[pytest]\nmarkers = slow: takes long\naddopts = --strict-markers\n"
SAYS = "tests/test_motd.py::TestMotd::test_says[bakery://web]"


@pytest.fixture
def suite(empty: Place, tmp_path: Path) -> Place:
    (empty.folder / "tests").mkdir()
    (empty.folder / "more").mkdir()
    write(empty, '["tests/", has_motd]')
    for name, text in {
        "tests/conftest.py": CONFTEST,
        "tests/expected.txt": "hello",
        "tests/test_motd.py": SUITE,
        "more/test_other.py": OTHER,
        "pytest.ini": INI,
    }.items():
        empty.write(text, name)
    return empty


def write(place: Place, tests: str) -> None:
    place.write(IMAGEFILE.format(cloud=str(place.folder.parent / "cloud"), tests=tests))


def ended(place: Place, *words: str) -> tuple[int, dict[str, str]]:
    """Return the exit code, and how each test ended."""
    at = words.index("--") if "--" in words else len(words)
    done = place.bake(*words[:at], "--format", "json", *words[at:])
    told = [json.loads(line) for line in done.out.splitlines()]
    return done.code, {event["test"]: event["outcome"] for event in told if event["type"] == "test-ended"}


def verdict(place: Place) -> str:
    (image,) = json.loads(place.bake("images", "--json").out)["images"]
    return str(image["verdict"])


def junit(place: Place) -> dict[tuple[str, str], ET.Element]:
    folder = max((place.folder / ".bakery/runs").iterdir())
    cases = ET.parse(folder / "junit.xml").iter("testcase")  # noqa: S314  our own
    return {(case.get("classname", ""), case.get("name", "")): case for case in cases}


def test_an_image_passes_functions_and_suites_in_one_report(suite: Place) -> None:
    code, tests = ended(suite, "build")
    assert code == 0
    assert tests == {
        "hygiene": "passed",
        "has_motd": "passed",
        SAYS: "passed",
        "tests/test_motd.py::TestMotd::test_user[bakery://web-root]": "passed",
        "tests/test_motd.py::TestMotd::test_user[bakery://web-nobody]": "passed",
    }
    cases = junit(suite)
    assert ("web@box", "has_motd") in cases
    case = cases["tests.test_motd.TestMotd", "test_says[bakery://web]"]
    assert (Path(case.get("file", "")).name, case.get("line")) == ("test_motd.py", "6")
    assert verdict(suite) == "passed"
    assert not (suite.folder / ".pytest_cache").exists()


def test_a_failure_of_a_suite_is_exit_code_8_with_its_line(suite: Place) -> None:
    suite.write("other", "tests/expected.txt")
    done = suite.bake("build")
    assert done.code == 8, done.err
    assert f"test {SAYS} at " in done.err
    assert "test_motd.py:7" in done.err
    assert "'hello' == 'other'" in done.err
    assert f"1 of 4 smoke tests failed: {SAYS}" in done.err


def test_what_a_suite_takes_in_tests_a_kept_image_again_and_nothing_else(suite: Place) -> None:
    assert ended(suite, "build")[0] == 0
    for name, text in (
        ("tests/expected.txt", "hello"),  # the same
        ("README.md", "x"),
        ("more/test_other.py", "x = 1\n"),
        ("tests/.hidden", "x"),
    ):
        suite.write(text, name)
        assert ended(suite, "build") == (0, {}), name
    for name, text in (
        ("tests/conftest.py", CONFTEST + "\nMORE = 1\n"),
        ("tests/test_motd.py", SUITE + "\n\ndef test_more(host): ...\n"),
        ("tests/test_new.py", "def test_new(host): ...\n"),
        ("conftest.py", "MORE = 1\n"),
        ("pytest.ini", INI + "# changed\n"),
    ):
        suite.write(text, name)
        code, tests = ended(suite, "build")
        assert (code, SAYS in tests) == (0, True), name
        assert ended(suite, "build") == (0, {}), name
    suite.write("other", "tests/expected.txt")
    assert ended(suite, "build")[0] == 8


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("tests/test_motd.py", "import nothing_here\n", "No module named 'nothing_here'"),
        ("tests/conftest.py", "raise RuntimeError('broken')\n", "broken"),
        ("pytest.ini", "[pytest]\naddopts = --nonsense\n", "unrecognized arguments: --nonsense"),
        ("pytest.ini", "[pytest]\npython_files = nothing_*.py\n", "no test was collected from tests/"),
    ],
)
def test_what_cannot_be_collected_is_told_before_anything_is_made(
    suite: Place, name: str, text: str, says: str
) -> None:
    suite.write(text, name)
    done = suite.bake("build")
    assert done.code == 8, done.err
    assert says in done.err
    assert "launch" not in done.err
    assert "defect" not in done.err


def test_a_suite_that_is_not_there_is_told_when_the_file_is_read(suite: Place) -> None:
    write(suite, '["test/", has_motd]')
    done = suite.bake("list")
    assert done.code == 3
    assert "imagefile.py:2" in done.err
    assert "did you mean tests?" in done.err


def test_paths_and_arguments_of_the_command_line_choose_and_leave_the_verdict_alone(suite: Place) -> None:
    assert ended(suite, "build")[0] == 0
    code, tests = ended(suite, "test", "web", "--", "-k", "says")
    assert (code, tests) == (0, {"has_motd": "passed", SAYS: "passed"})
    code, tests = ended(suite, "test", "web", "tests/test_motd.py::TestMotd", "--", "-m", "not slow", "-x")
    assert (code, tests) == (0, {"has_motd": "passed", SAYS: "passed"})
    code, tests = ended(suite, "test", "web", "more/")
    assert (code, tests) == (8, {"has_motd": "passed", "more/test_other.py::test_other[bakery://web]": "failed"})
    code, tests = ended(suite, "test", "web", "more/", "tests", "--", "--lf")
    assert list(tests) == ["has_motd", "more/test_other.py::test_other[bakery://web]"]
    assert verdict(suite) == "passed"
    suite.write("other", "tests/expected.txt")
    assert ended(suite, "test", "web")[0] == 8
    assert verdict(suite) == "failed"


def test_workers_of_xdist_each_test_the_machine(suite: Place) -> None:
    assert ended(suite, "build", "--no-test")[0] == 0
    suite.write("other", "tests/expected.txt")
    code, tests = ended(suite, "test", "web", "--", "-n", "2")
    assert code == 8
    assert [tests[SAYS], len(tests)] == ["failed", 4]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("tests/test_nothing.py",), 2, "no such file or folder"),
        (("tests/test_motd.py::TestNothing",), 2, "has no TestNothing"),
        (("--", "--nonsense"), 2, "unrecognized arguments"),
        (("--", "--pdb"), 2, "this is no terminal"),
        (("--", "-k", "nothing_like_it"), 8, "the arguments leave out all 3"),
        (("--", "--collect-only"), 8, "none ran"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(suite: Place, words: tuple[str, ...], code: int, says: str) -> None:
    assert suite.bake("build", "--no-test").code == 0
    done = suite.bake("test", "web", *words)
    assert done.code == code, done.err
    assert says in done.err


def test_pytests_own_words_are_shown_where_they_are_asked_for(suite: Place) -> None:
    assert suite.bake("build", "--no-test").code == 0
    suite.write("def test_prints(host):\n    print('printed by the test')\n", "more/test_other.py")
    assert "printed by the test" not in suite.bake("test", "web", "more/").err
    done = suite.bake("test", "web", "more/", "--", "-s")
    assert done.code == 0, done.err
    assert "printed by the test" in done.err


def test_tests_of_other_hosts_are_refused_skipped_or_taken_for_the_machine(suite: Place) -> None:
    assert suite.bake("build", "--no-test").code == 0
    suite.write("testinfra_hosts = ['ssh://db']\n" + OTHER.replace("'other'", "'hello'"), "more/test_other.py")
    done = suite.bake("test", "web", "more/")
    assert done.code == 8
    assert "ssh://db: not known to be the machine under test (web, box)" in done.err
    assert ended(suite, "test", "web", "more/", "--testinfra-host", "d*")[0] == 0
    code, tests = ended(suite, "test", "web", "more/", "--other-hosts", "skip")
    assert (code, tests["more/test_other.py::test_other[bakery://web]"]) == (0, "skipped")


def test_a_run_in_which_each_test_is_skipped_tested_nothing(suite: Place) -> None:
    write(suite, '["tests/"]')
    suite.write("import pytest\npytestmark = pytest.mark.skip('later')\ndef test_it(): ...\n", "tests/test_motd.py")
    text = (
        (suite.folder / "imagefile.py")
        .read_text()
        .replace("@bakery.test", "")
        .replace("def has_motd(host)", "def unused(host)")
    )
    suite.write(text)
    done = suite.bake("build")
    assert done.code == 8
    assert "no smoke test has tested anything" in done.err
    assert "later" in done.err


def test_clones_run_at_once_for_tests_that_ask_for_several_machines(suite: Place) -> None:
    suite.write(
        "def test_they_are_two(clones):\n    clones[0].run('echo one >/etc/motd')\n"
        "    assert [each.file('/etc/motd').content_string for each in clones] == ['one\\n', 'hello']\n",
        "more/test_other.py",
    )
    assert suite.bake("build", "--no-test").code == 0
    name = "more/test_other.py::test_they_are_two"
    assert ended(suite, "test", "web", "more/")[1][name] == "skipped"
    assert ended(suite, "test", "web", "more/", "--clones", "2") == (0, {"has_motd": "passed", name: "passed"})


def test_the_debugger_has_the_terminal(suite: Place) -> None:
    assert suite.bake("build", "--no-test").code == 0
    terminal = Terminal(suite, "test", "web", "more/", "--", "--pdb")
    terminal.hear("(Pdb)")
    terminal.say("p 'answer', 6 * 7, host.file('/etc/motd').content_string\n")
    terminal.hear("('answer', 42, 'hello')")
    terminal.hear("(Pdb)")
    terminal.say("q\n")
    code, told = terminal.end()
    assert code == 8, told
