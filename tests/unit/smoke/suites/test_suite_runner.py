"""What a suite's events and exit code mean, and the words that pytest is started with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bakery.errors import BakeryError, ConnectError, SmokeError, UsageError
from bakery.events import Event, Output
from bakery.model import Endpoint
from bakery.smoke import SmokeJob, SuiteRun, wire
from bakery.smoke.process import PytestProcess
from bakery.smoke.suites.runner import SuiteOutcome, SuiteStart, _Lines
from bakery.state.ssh_keys import make_keys
from bakery.util.context import WorkContext

SUITE = SuiteRun(paths=("tests", "x.py::y"), cache=Path("/project/.bakery/pytest/web"))
JOB = SmokeJob(
    imagefile=Path("/project/imagefile.py"),
    tests=(),
    builtin=frozenset(),
    endpoint=Endpoint(host="box"),
    keys=make_keys("bakery-test"),
    junit=Path("/run/junit.xml"),
    build="web@box",
    suite=SUITE,
)


def result(outcome: str = "passed", name: str = "tests/a.py::test_it") -> dict[str, Any]:
    return {"type": "test", "test": name, "outcome": outcome, "seconds": 0.5, "file": "", "line": 0, "text": "why"}


def done(status: int = 0) -> dict[str, Any]:
    return {"type": "done", "status": status}


class Words:
    """A child that has ended."""

    def __init__(self, words: str = "exit code 1\nits words") -> None:
        self.words = words

    def last_words(self) -> str:
        return self.words


def outcome(
    *events: dict[str, Any], words: str = "exit code 1\nits words", suite: SuiteRun = SUITE, collected: bool = False
) -> SuiteOutcome:
    whole = SuiteOutcome(JOB, WorkContext(cache=Path()), suite)
    for event in events:
        whole.take(event)
    child = cast("PytestProcess", Words(words))
    (whole.check_collected if collected else whole.check)(child)
    return whole


@pytest.mark.parametrize("status", [0, 1])
def test_a_failure_is_in_the_report_whatever_the_exit_code(status: int) -> None:
    assert not outcome(result(), result("failed"), done(status)).report(1.0).ok


def test_all_well_is_a_report() -> None:
    report = outcome(result(), result("skipped"), done(0)).report(2.5)
    assert (report.ok, report.seconds, len(report.results)) == (True, 2.5, 2)


def test_a_module_that_cannot_be_collected_is_a_failure() -> None:
    assert not outcome(result("error", "tests/a.py"), done(2)).report(1.0).ok


@pytest.mark.parametrize("status", [1, 2, 3])
def test_an_exit_code_that_no_result_explains_is_no_success(status: int) -> None:
    with pytest.raises(SmokeError, match=f"exit code {status} in tests x.py::y, and no test failed") as raised:
        outcome(result(), done(status))
    assert raised.value.why == "exit code 1\nits words"


@pytest.mark.parametrize(("events", "status"), [((), 0), ((), 5), ((result(),), 5)])
def test_nothing_that_ran_is_no_success(events: tuple[dict[str, Any], ...], status: int) -> None:
    with pytest.raises(SmokeError, match=r"no test was collected from tests x\.py::y, or none ran") as raised:
        outcome(*events, done(status))
    assert "test_*.py" in raised.value.hint


def test_arguments_that_leave_out_every_test_are_named() -> None:
    with pytest.raises(SmokeError, match="the arguments leave out all 7"):
        outcome({"type": "suite", "deselected": 7}, done(5))


@pytest.mark.parametrize(("arguments", "family"), [((), SmokeError), (("--nonsense",), UsageError)])
def test_what_pytest_does_not_take_is_told_in_its_words(arguments: tuple[str, ...], family: type[BakeryError]) -> None:
    suite = replace(SUITE, arguments=arguments)
    early = "exit code 4\nERROR: unrecognized arguments: --nonsense"
    for events in ((), (done(4),)):
        with pytest.raises(family, match="does not take") as raised:
            outcome(*events, words=early, suite=suite)
        assert raised.value.why == "ERROR: unrecognized arguments: --nonsense"


def test_a_crash_and_a_machine_out_of_reach_are_what_they_are() -> None:
    with pytest.raises(SmokeError, match="ended in the middle"):
        outcome(result(), words="ended by SIGSEGV")
    told = {"type": "error", "error": "ConnectError", "what": "cannot log in", "why": "", "hint": ""}
    with pytest.raises(ConnectError, match="cannot log in"):
        outcome(told, done(2))


def test_what_can_be_collected_is_well_and_what_cannot_is_told(tmp_path: Path) -> None:
    outcome(done(0), collected=True)
    with pytest.raises(SmokeError, match=r"1 file cannot be collected: tests/a\.py") as raised:
        outcome(result("error", "tests/a.py"), result("skipped", "tests/b.py"), done(2), collected=True)
    assert raised.value.why == "why"
    with pytest.raises(SmokeError, match="no test was collected"):
        outcome(done(5), collected=True)
    with pytest.raises(SmokeError, match="cannot be collected"):
        outcome(done(3), collected=True)


def test_pytest_is_started_as_in_a_plain_run_with_our_plugin_in_front() -> None:
    suite = replace(SUITE, arguments=("-k", "nginx", "-x"))
    words = SuiteStart(folder=Path("/project"), suite=suite).words(5, 6)
    assert words[:5] == [sys.executable, "-P", "-B", "-m", "pytest"]
    assert words[-5:] == ["tests", "x.py::y", "-k", "nginx", "-x"]
    assert {"--bakery-job=5", "--bakery-events=6", "cache_dir=/project/.bakery/pytest/web", "--color=no"} <= {*words}
    assert not {"-c", "--noconftest", "--rootdir", "--collect-only"} & {*words}
    assert "--color=no" not in SuiteStart(folder=Path("/project"), suite=suite, on_terminal=True).words(5, 6)
    dry = SuiteStart(folder=Path("/project"), suite=replace(SUITE, collect_only=True))
    assert "--collect-only" in dry.words(5, 6)


def test_the_environment_is_the_users_own() -> None:
    environ = {"PYTEST_ADDOPTS": "-x", "PYTEST_CURRENT_TEST": "t", "PYTEST_XDIST_WORKER": "gw0", "PATH": "/bin"}
    own = SuiteStart(folder=Path(), suite=SUITE).environment(environ)
    assert {name for name in own if name.startswith("PYTEST")} == {"PYTEST_ADDOPTS"}


def test_a_job_with_suites_passes_the_pipe() -> None:
    there = wire.load(wire.dump(JOB))
    assert there.suite == SUITE
    assert wire.load(wire.dump(replace(JOB, suite=None))).suite is None


def test_pytests_words_come_in_whole_lines() -> None:
    heard: list[Event] = []
    lines = _Lines(WorkContext(cache=Path(), emit=heard.append), "web@box")
    for part in (b"on", b"e\ntw", b"o\n", b"rest"):
        lines(part)
    lines.end()
    lines.end()
    texts = [(event.text, event.stream, event.build) for event in heard if isinstance(event, Output)]
    assert texts == [("one", "pytest", "web@box"), ("two", "pytest", "web@box"), ("rest", "pytest", "web@box")]
