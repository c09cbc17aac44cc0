"""Turns the reports of a suite's tests into results: redacted, with the failing line, sent as they come.

Where tests run in several processes, each notes and redacts, and the first one sends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from bakery.smoke.job import Verdict
from bakery.smoke.results import text_of


class SuiteVerdicts:
    """A pytest plugin object.

    Args:
        config: pytest's.
        redact: takes secrets out of a text; before any report sees it.
        send: sends an event to the parent; None in a worker, whose reports go to the first process.
    """

    def __init__(self, config: pytest.Config, redact: Callable[[str], str], send: Callable[..., None] | None) -> None:
        self._root = config.rootpath
        self._redact = redact
        self._send = send or _to_nobody
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._ended = 0
        self._deselected = 0

    # ---- where tests run ----------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Take secrets out of the explanation why something cannot be collected."""
        report = yield
        self._clean(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the failing line, then redact."""
        report = yield
        if call.excinfo is not None:
            report.bakery_line = self._failing_line(item, call.excinfo)  # type: ignore[attr-defined]  # it travels along
        self._clean(report)
        properties: list[tuple[str, object]] = [(n, self._redact(str(value))) for n, value in report.user_properties]
        report.user_properties = properties
        return report

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what `-k` and the like leave out."""
        self._deselected += len(items)

    def _clean(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        """Take secrets out of a report; one without any stays pytest's own, with its colours and `--tb` styles."""
        if isinstance(report.longrepr, tuple):
            file, line, reason = report.longrepr
            report.longrepr = (file, line, self._redact(reason))
        elif report.longrepr is not None and (text := self._redact(report.longreprtext)) != report.longreprtext:
            report.longrepr = text
        report.sections = [(title, self._redact(text)) for title, text in report.sections]

    def _failing_line(self, item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> list[Any]:
        """Return file and innermost line of the user's own code, also where a library raised."""
        for entry in reversed(excinfo.traceback):
            path = Path(entry.path)
            if "site-packages" not in path.parts and (path == item.path or path.is_relative_to(self._root)):
                return [str(path), entry.lineno + 1]
        return ["", 0]

    # ---- where results are sent from ----------------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell of a module that cannot be collected, as of a test; of one that skips itself as well."""
        if report.failed or report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            file = report.nodeid.partition("::")[0]
            self._tell(
                report.nodeid,
                "error" if report.failed else "skipped",
                0.0,
                [str(self._root / file), 1] if file else ["", 0],
                reason.removeprefix("Skipped: "),
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep set-up, call and tear-down together."""
        self._reports.setdefault(report.nodeid, []).append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """One test is over: send its result."""
        self._finish(nodeid)

    def rest(self) -> None:
        """Send the results of tests whose end nobody told: their process crashed."""
        for nodeid in [*self._reports]:
            self._finish(nodeid)

    def counts(self) -> dict[str, int]:
        """Return how many tests were told of, and left out."""
        return {"ended": self._ended, "deselected": self._deselected}

    def _finish(self, nodeid: str) -> None:
        if not (reports := self._reports.pop(nodeid, [])):
            return  # in a worker's own process
        outcome = outcome_of(reports)
        lines = [report.bakery_line for report in reports if report.failed and hasattr(report, "bakery_line")]
        where = next((line for line in lines if line[0]), None) if outcome in ("failed", "error") else None
        if where is None:
            file, number, _ = reports[0].location
            where = [str(self._root / file), (number or 0) + 1]
        self._tell(nodeid, outcome, sum(report.duration for report in reports), where, text_of(reports))

    def _tell(self, nodeid: str, outcome: Verdict, seconds: float, where: list[Any], text: str) -> None:
        self._ended += 1
        file, line = where
        self._send("test", test=nodeid, outcome=outcome, seconds=seconds, file=file, line=line, text=text)


def _to_nobody(*_: object, **__: object) -> None:
    """Send nothing: a worker's results are sent by the first process."""


def outcome_of(reports: list[pytest.TestReport]) -> Verdict:
    """Say how a test ended. One that was not called, as with `--setup-plan`, has tested nothing."""
    for report in reports:
        if report.failed:
            return "failed" if report.when == "call" else "error"
    return "passed" if any(report.when == "call" and report.passed for report in reports) else "skipped"
