"""JUnit XML: what CI systems count, and what they show."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakery import events as e
from bakery.reporting.junit import _headline, xml
from bakery.reporting.run_state import RunState

from .story import story


def suites(*told: e.Event) -> list[ET.Element]:
    board = RunState()
    for event in told:
        board.read(event)
    return list(ET.fromstring(xml(board)))  # noqa: S314  our own text


def suite(*told: e.Event) -> ET.Element:
    (only,) = suites(*told)
    return only


def ended(test: str, outcome: str, *, location: str = "", text: str = "") -> e.TestEnded:
    return e.TestEnded(build="b", test=test, outcome=outcome, seconds=0.25, location=location, text=text)  # type: ignore[arg-type]


def counts(element: ET.Element) -> dict[str, int]:
    return {name: int(element.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}


@pytest.mark.parametrize(
    ("test", "classname", "name"),
    [
        ("tests/test_web.py::test_runs", "tests.test_web", "test_runs"),
        ("tests/test_web.py::TestNginx::test_runs[a::b]", "tests.test_web.TestNginx", "test_runs[a::b]"),
        ("test_web.py::test_it[bakery://web-80]", "test_web", "test_it[bakery://web-80]"),
        ("answers[a::b]", "b", "answers[a::b]"),
        ("tests/test_web.py", "b", "tests/test_web.py"),
    ],
)
def test_a_test_of_a_suite_keeps_the_names_that_pytest_gives_it(test: str, classname: str, name: str) -> None:
    (case,) = suite(ended(test, "passed"))
    assert (case.get("classname"), case.get("name")) == (classname, name)


@pytest.mark.parametrize(
    ("outcome", "tag", "counted"),
    [
        ("passed", None, {"tests": 1, "failures": 0, "errors": 0, "skipped": 0}),
        ("failed", "failure", {"tests": 1, "failures": 1, "errors": 0, "skipped": 0}),
        ("error", "error", {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}),
        ("skipped", "skipped", {"tests": 1, "failures": 0, "errors": 0, "skipped": 1}),
    ],
)
def test_a_test_is_a_case_and_is_counted(outcome: str, tag: str | None, counted: dict[str, int]) -> None:
    element = suite(ended("answers", outcome, location="images/i.py:40", text="assert 1 == 2\nE  no"))
    assert counts(element) == counted
    (case,) = element
    assert {name: case.get(name) for name in ("classname", "name", "time", "file", "line")} == {
        "classname": "b",
        "name": "answers",
        "time": "0.250",
        "file": "images/i.py",
        "line": "40",
    }
    assert [child.tag for child in case] == ([] if tag is None else [tag])
    for child in case:
        assert (child.get("message"), child.text) == ("no", "assert 1 == 2\nE  no")


@pytest.mark.parametrize("location", ["", "i.py", "i.py:x"])
def test_a_case_without_a_line_has_no_file(location: str) -> None:
    (case,) = suite(ended("t", "passed", location=location))
    assert (case.get("file"), case.get("line")) == (None, None)


def failed(build: str = "b") -> e.Failed:
    return e.Failed(build=build, error="CommandFailed", what="task base: no", why="E: no", hint="mend it")


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ([], "build"),
        ([e.PhaseEnded(build="b", phase="launch", seconds=1, outcome="failed")], "launch"),
        (
            [
                e.StepEnded(build="b", step="base", index=0, seconds=1, outcome="failed"),
                e.PhaseEnded(build="b", phase="provision", seconds=1, outcome="failed"),
            ],
            "provision",
        ),
    ],
)
def test_a_failure_before_the_tests_is_an_error_of_the_phase(before: list[e.Event], name: str) -> None:
    element = suite(*before, failed())
    assert counts(element) == {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}
    (case,) = element
    (error,) = case
    assert (case.get("name"), error.get("type"), error.get("message")) == (name, "CommandFailed", "task base: no")
    assert (error.text or "").splitlines()[1:] == ["  why:    E: no", "  hint:   mend it"]


def test_tests_that_failed_are_not_counted_twice_for_the_build_that_failed_with_them() -> None:
    element = suite(ended("a", "passed"), ended("b", "failed"), failed())
    assert counts(element) == {"tests": 2, "failures": 1, "errors": 0, "skipped": 0}


def test_a_build_that_failed_although_its_tests_passed_is_an_error() -> None:
    element = suite(ended("a", "passed"), failed())
    assert counts(element) == {"tests": 2, "failures": 0, "errors": 1, "skipped": 0}


@pytest.mark.parametrize(("verdict", "skipped"), [("", 0), ("passed", 0), ("failed", 0), ("untested", 1)])
def test_an_image_that_nobody_tested_is_a_skipped_case(verdict: str, skipped: int) -> None:
    element = suite(e.ArtifactKept(build="b", name="web", id="/w", verdict=verdict))
    assert counts(element) == {"tests": skipped, "failures": 0, "errors": 0, "skipped": skipped}


def test_the_time_of_a_suite_is_its_builds() -> None:
    assert suite(e.BuildEnded(build="b", outcome="ok", seconds=61.5)).get("time") == "61.500"
    assert suite(ended("t", "passed")).get("time") == "0.000"


def test_what_failed_in_the_run_has_a_suite_of_its_own() -> None:
    first, run = suites(e.BuildEnded(build="b", outcome="ok", seconds=1), failed(build=""))
    assert (first.get("name"), run.get("name")) == ("b", "run")
    assert counts(run) == {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}
    assert [case.get("name") for case in run] == ["CommandFailed"]


def test_every_failure_of_the_run_is_counted() -> None:
    run = suite(failed(build=""), failed(build=""))
    assert counts(run) == {"tests": 2, "failures": 0, "errors": 2, "skipped": 0}
    assert len(run) == 2


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_the_document_is_well_formed_whatever_is_said(text: str) -> None:
    board = RunState()
    for event in story(text=text):
        board.read(event)
    root = ET.fromstring(xml(board))  # noqa: S314  our own text
    for element in root:
        assert int(element.get("tests", "-1")) == len(element)


def test_a_cancelled_build_is_skipped_and_no_error() -> None:
    told = e.Failed(build="b", error="Interrupted", what="interrupted by SIGTERM", exit_code=130)
    element = suite(e.BuildStarted(build="b"), told, e.BuildEnded(build="b", outcome="cancelled", seconds=1))
    assert counts(element) == {"tests": 1, "failures": 0, "errors": 0, "skipped": 1}
    assert element[0][0].get("message") == "interrupted by SIGTERM"


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        (
            "host = <host>\n\n    def test(host):\n>       assert 1 == 2\nE       assert 1 == 2\nE        +  more",
            "assert 1 == 2",
        ),
        ("E   AssertionError: no nginx", "AssertionError: no nginx"),
        ("the image has no sshd\nmore", "the image has no sshd"),
        ("", ""),
    ],
)
def test_the_headline_of_a_case_is_what_went_wrong(text: str, headline: str) -> None:
    assert _headline(text) == headline
