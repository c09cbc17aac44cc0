"""JUnit XML: a suite for each build, a case for each smoke test; what failed before the tests is an error case."""

from __future__ import annotations

from typing import ClassVar
from xml.etree import ElementTree as ET

from bakery import events as e
from bakery.reporting.files import FileReporter
from bakery.reporting.formatting import plain
from bakery.reporting.run_state import BuildState, RunState, is_cancelled
from bakery.reporting.summary import failure_text

FILE = "junit.xml"


class JUnit(FileReporter):
    """Writes one file when the run is over: into the run's folder, or where it is told."""

    file: ClassVar[str] = FILE

    def content(self) -> bytes:
        """Return the whole document."""
        return xml(self.board)


def xml(board: RunState) -> bytes:
    """Return the whole document."""
    root = ET.Element("testsuites", name="bake")
    for track in board.tracks.values():
        root.append(_suite(track))
    if board.failures:
        root.append(_counted("run", [_run_case(failed) for failed in board.failures]))
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n".encode()


def _suite(track: BuildState) -> ET.Element:
    cases = [_case(track, test) for test in track.tests]
    broken = any(test.outcome in ("failed", "error") for test in track.tests)
    if track.failure and not broken:
        failed = [bar.name for bar in track.bars if bar.outcome == "failed"]
        case = ET.Element("testcase", classname=plain(track.name), name=plain(failed[-1] if failed else "build"))
        _error(case, track.failure, track)
        cases.append(case)
    if track.artifact and track.artifact.verdict == "untested":
        case = ET.Element("testcase", classname=plain(track.name), name="smoke")
        ET.SubElement(case, "skipped", message="the image was not tested")
        cases.append(case)
    suite = _counted(plain(track.name), cases)
    suite.set("time", f"{track.ended.seconds if track.ended else 0.0:.3f}")
    return suite


def _counted(name: str, cases: list[ET.Element]) -> ET.Element:
    """Return a suite of these cases, with their numbers."""
    suite = ET.Element("testsuite", name=name, tests=str(len(cases)))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def _run_case(failed: e.Failed) -> ET.Element:
    case = ET.Element("testcase", classname="run", name=plain(failed.error))
    _error(case, failed, None)
    return case


def _case(track: BuildState, test: e.TestEnded) -> ET.Element:
    classname, name = _names(track, test.test)
    case = ET.Element("testcase", classname=plain(classname), name=plain(name), time=f"{test.seconds:.3f}")
    file, _, line = test.location.rpartition(":")
    if line.isdigit():
        case.set("file", plain(file))
        case.set("line", line)
    tag = {"failed": "failure", "error": "error", "skipped": "skipped"}.get(test.outcome)
    if tag:
        text = plain(test.text)
        element = ET.SubElement(case, tag, message=_headline(text))
        element.text = text
    return case


def _headline(text: str) -> str:
    """Return the line that a CI service shows: what pytest says went wrong (`E   ...`), not the fixtures before it."""
    lines = text.strip().splitlines() or [""]
    return next((line[1:].strip() for line in lines if line.startswith("E  ")), lines[0])


def _names(track: BuildState, test: str) -> tuple[str, str]:
    """Return class and name of a case. A test of a suite has those that pytest's own report gives it.

    `tests/test_web.py::TestNginx::test_runs[case]` is `test_runs[case]` of `tests.test_web.TestNginx`. Source: pytest's
    junitxml, `mangle_test_address`.
    """
    plain_name, bracket, case = test.partition("[")
    path, *names = plain_name.split("::")
    if not names:
        return track.name, test
    module = path.removesuffix(".py").replace("/", ".")
    return ".".join([module, *names[:-1]]), names[-1] + bracket + case


def _error(case: ET.Element, failed: e.Failed, track: BuildState | None) -> None:
    kind = "skipped" if is_cancelled(failed) else "error"
    element = ET.SubElement(case, kind, type=plain(failed.error), message=plain(failed.what))
    element.text = failure_text(failed, track)
