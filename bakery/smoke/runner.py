"""The parent's side: starts pytest in a process of its own, hands over the job, reads the results."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bakery import errors
from bakery.errors import Location, SmokeError
from bakery.events import TestEnded
from bakery.model import from_json
from bakery.smoke.identity import Identity
from bakery.smoke.job import Read, SmokeJob, SmokeReport, TestResult
from bakery.smoke.process import PytestProcess, PytestStart
from bakery.util.context import WorkContext

_ORDERLY: Final = (0, 1)  # pytest: all passed, some failed
REBOOTED: Final = " after a reboot"
"""What stands behind a test's name in reports, the second time that it runs."""


def run(job: SmokeJob, work: WorkContext, child: PytestProcess | None = None, *, alone: bool = True) -> SmokeReport:
    """Run smoke tests against a machine.

    Each result is emitted as a `TestEnded` event when it comes; the JUnit report is at `job.junit` afterwards.

    Args:
        job: the machine, the tests, the variables.
        work: takes the events, and cancels.
        child: a process that was started beforehand for this very job; it ends with the tests.
        alone: False where other tests of the machine follow: then these may all be skipped.

    Returns:
        A report; tests that failed are in it.

    Raises:
        SmokeError: there is no verdict: nothing was asked, a test could not be collected, the process crashed or ran
            out of time.
        ConnectError: the machine cannot be reached.
        Interrupted: cancelled.
    """
    if not job.tests and not job.builtin:
        raise SmokeError("there is no smoke test to run", hint="write a @bakery.test, or say --no-test")
    started = time.monotonic()
    outcome = ChildOutcome(job, work)
    with child or PytestProcess(PytestStart.of(job)) as process:
        for event in process.events(job, started + job.timeout, work):
            outcome.take(event)
        outcome.check(process)
    report = outcome.report(time.monotonic() - started)
    if alone:
        refuse_untested(report)
    return report


def refuse_untested(report: SmokeReport) -> None:
    """Refuse a report of which no test says anything of the machine.

    Raises:
        SmokeError: each is skipped, or failed as expected.
    """
    if all(result.outcome == "skipped" for result in report.results):
        raise SmokeError(
            "no smoke test has tested anything: each is skipped, or failed as expected",
            why="\n".join(f"{result.test}: {result.text}".strip(": ") for result in report.results),
            hint="write a @bakery.test that can pass, or say --no-test",
        )


class ChildOutcome:
    """What came out of the pipe so far.

    Args:
        job: what was asked.
        work: takes an event for each result.
    """

    def __init__(self, job: SmokeJob, work: WorkContext) -> None:
        self._job = job
        self._work = work
        self._collected: tuple[int, Mapping[str, int]] = (0, {})
        self._status: int | None = None
        self._trouble: errors.BakeryError | None = None
        self.results: list[TestResult] = []
        self.identity = Identity()
        self.round_trips = 0
        self.read: list[Read] = []

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of the child's."""
        match event:
            case {"type": "collected", "tests": int(count), "functions": dict(names)}:
                self._collected = (count, names)
            case {"type": "not-collected", "file": str(file), "text": str(text)}:
                what = f"the smoke tests in {Path(file).name or self._job.imagefile.name} cannot be collected"
                self._trouble = self._trouble or SmokeError(what, why=text)
            case {"type": "error", "error": str(name), "what": str(what), "why": str(why), "hint": str(hint)}:
                kind = getattr(errors, name, SmokeError)
                self._trouble = (SmokeError if kind is errors.BakeryError else kind)(what, why=why, hint=hint)
            case {"type": "machine", "identity": dict(identity), "round_trips": int(trips)}:
                self.identity, self.round_trips = from_json(Identity, identity), trips
            case {"type": "read", "inputs": list(read)}:
                self.read = [(kind, name, look and tuple(look)) for kind, name, look in read]
            case {"type": "done", "status": int(status)}:
                self._status = status
            case {"type": "test"}:
                self._add(event)

    def _add(self, event: dict[str, Any]) -> None:
        file = Path(os.path.normpath(self._job.imagefile.parent / event["file"]))
        location = str(Location(file, event["line"])) if event["file"] else ""
        named = {key: event[key] for key in ("test", "outcome", "seconds", "text")}
        if self._job.before is not None:
            named["test"] += REBOOTED
        self.results.append(TestResult(location=location, **named))
        self._work.emit(TestEnded(build=self._job.build, location=location, **named))

    def report(self, seconds: float) -> SmokeReport:
        """Return what is known when all is over."""
        return SmokeReport(
            results=tuple(self.results),
            seconds=seconds,
            identity=self.identity,
            round_trips=self.round_trips,
            read=tuple(self.read),
        )

    def ended(self, child: PytestProcess) -> int:
        """Return pytest's exit code at its orderly end.

        Raises:
            SmokeError: it had none, or a test cannot be collected.
            ConnectError: it could not reach the machine.
        """
        if self._trouble is not None:
            raise self._trouble
        if self._status is None:
            raise SmokeError("the smoke tests' process ended in the middle", why=child.last_words())
        return self._status

    def check(self, child: PytestProcess) -> None:
        """Make sure that there is a verdict on every test that was asked for.

        Raises:
            SmokeError: there is not.
        """
        status = self.ended(child)
        count, names = self._collected
        wanted = Counter([*self._job.builtin, *(test.name for test in self._job.tests)])
        if missing := sorted(name for name, number in wanted.items() if names.get(name, 0) < number):
            raise SmokeError(f"no test came of: {', '.join(missing)}", why=child.last_words())
        if status not in _ORDERLY or len(self.results) != count:
            what = f"the smoke tests were broken off after {len(self.results)} of {count}"
            raise SmokeError(what, why=child.last_words())
