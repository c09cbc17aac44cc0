"""Turns pytest's reports into results: redacted, with the failing line of the user's file, sent as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bakery.imagefile import process_end, user_threads
from bakery.imagefile.user_code import UserCodeExit, as_exception, is_users_frame
from bakery.smoke.collect import BUILTIN_FILE
from bakery.smoke.job import SmokeJob, Verdict


@dataclass(frozen=True)
class _Crash:
    message: str


class _Explanation(str):
    """A redacted explanation; JUnit's writer takes its `message` from `reprcrash`."""

    __slots__ = ("reprcrash",)
    reprcrash: _Crash


class Verdicts:
    """A pytest plugin object.

    Args:
        job: what was asked.
        redact: takes secrets out of a text; before any report, JUnit's included, sees it.
        send: sends an event to the parent.
    """

    def __init__(self, job: SmokeJob, redact: Callable[[str], str], send: Callable[..., None]) -> None:
        self._job = job
        self._redact = redact
        self._send = send
        self._lines: dict[str, tuple[str, int]] = {}
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a module that cannot be collected, for whatever reason, as a failure of the run."""
        if report.failed or report.skipped:
            self._send("not-collected", file=report.nodeid, text=self._redact(report.longreprtext))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Say what will run."""
        functions = {(item.path, getattr(item, "originalname", item.name)) for item in session.items}
        names = Counter(name for _, name in functions)
        self._send("collected", tests=len(session.items), functions=names)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        """Keep what leaves a fixture to its test."""
        return (yield from _contained())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Keep what leaves a test to that test."""
        return (yield from _contained())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Keep what leaves a fixture's end to its test."""
        return (yield from _contained())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the failing line, then redact."""
        report = yield
        if call.excinfo is not None and item.nodeid not in self._lines:
            self._lines[item.nodeid] = self._failing_line(item, call.excinfo)
        if isinstance(report.longrepr, tuple):
            file, line, reason = report.longrepr
            report.longrepr = (file, line, self._redact(reason))
        elif report.longrepr is not None:
            text = _Explanation(self._redact(report.longreprtext))
            crash = getattr(report.longrepr, "reprcrash", None)
            text.reprcrash = _Crash(self._redact(crash.message) if crash else text.partition("\n")[0])
            report.longrepr = text
        report.sections = [(title, self._redact(text)) for title, text in report.sections]
        properties: list[tuple[str, object]] = [(n, self._redact(str(value))) for n, value in report.user_properties]
        report.user_properties = properties
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep set-up, call and tear-down together."""
        self._reports.setdefault(report.nodeid, []).append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """One test is over: send its result."""
        reports = self._reports.pop(nodeid, [])
        outcome = _outcome(reports)
        file, line = self._lines.get(nodeid, ("", 0))
        if reports and not (file and outcome in ("failed", "error")):
            file, line = _defined(reports[0])
        self._send(
            "test",
            test=nodeid.partition("::")[2],
            outcome=outcome,
            seconds=sum(r.duration for r in reports),
            file=file,
            line=line,
            text=text_of(reports),
        )

    def _failing_line(self, item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> tuple[str, int]:
        """Return the innermost line of the user's own code, also where a library raised."""
        if item.path == BUILTIN_FILE:
            return "", 0  # its lines are nobody's business
        mine = (item.path, self._job.imagefile.parent)
        for entry in reversed(excinfo.traceback):
            path = Path(entry.path)
            if "site-packages" not in path.parts and any(path.is_relative_to(own) for own in mine):
                return str(path), entry.lineno + 1
        return "", 0


def _contained() -> Generator[None, object, object]:
    """Turn what pytest would end the whole run for into the failure of one test: nobody types Ctrl-C here.

    What ends a thread of the test's is a failure as well; the parent sees to it that no thread is waited for in vain.
    """
    try:
        with user_threads.watching(is_users_frame) as threads, process_end.ending_forks():
            result = yield
            threads.join(lambda: None)
    except (KeyboardInterrupt, pytest.exit.Exception) as error:
        raise UserCodeExit(error).with_traceback(error.__traceback__) from error
    for failure in threads.failures[:1]:
        raise as_exception(failure)
    return result


def _defined(report: pytest.TestReport) -> tuple[str, int]:
    """Return where a test stands."""
    file, line, _ = report.location
    return file, (line or 0) + 1


def _outcome(reports: list[pytest.TestReport]) -> Verdict:
    for report in reports:
        if report.failed:
            return "failed" if report.when == "call" else "error"
    if not reports or any(report.skipped for report in reports):
        return "skipped"
    return "passed"


def text_of(reports: list[pytest.TestReport]) -> str:
    """Return a failure's explanation with what the test printed; a skip's reason."""
    parts: list[str] = []
    for report in reports:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            parts.append(getattr(report, "wasxfail", "") or reason.removeprefix("Skipped: "))
        elif report.failed:
            printed = [f"---- {title} ----\n{text}" for title, text in report.sections if text.strip()]
            parts += [report.longreprtext, *printed]
    return "\n".join(parts)
