"""The parent's side of a suite: starts pytest as in a plain run, and says what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bakery.errors import SmokeError, UsageError
from bakery.events import Output
from bakery.model import Endpoint
from bakery.smoke.job import SmokeJob, SmokeReport, SuiteRun
from bakery.smoke.process import PytestProcess, with_bakery
from bakery.smoke.runner import ChildOutcome
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
from bakery.util.units import counted

PLUGIN: Final = "bakery.smoke.suites.plugin"
TESTINFRA: Final = "pytest11.testinfra"
"""The name under which testinfra is installed as a plugin of pytest."""
OURS: Final = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_")
"""Variables of a pytest that runs bakery itself."""
PASSED, FAILED, INTERRUPTED, INTERNAL, USAGE, NOTHING = range(6)
"""pytest's exit codes."""
COLLECT_TIME: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class SuiteStart:
    """What pytest is started with: the user's own words and settings, and ours in front.

    Args:
        folder: where it runs: the imagefile's.
        suite: what it runs.
        on_terminal: True where the user talks to it.
    """

    folder: Path
    suite: SuiteRun
    on_terminal: bool = False

    def words(self, inbox: int, outlet: int) -> list[str]:
        """Return pytest as in a plain run, with the machine under test in testinfra's place."""
        return [
            sys.executable,
            "-P",
            "-B",
            "-m",
            "pytest",
            "-p",
            PLUGIN,
            "-p",
            TESTINFRA,
            f"--bakery-job={inbox}",
            f"--bakery-events={outlet}",
            "-o",
            f"cache_dir={self.suite.cache}",
            *([] if self.on_terminal else ["--color=no"]),
            *(["--collect-only", "-q"] if self.suite.collect_only else []),
            *self.suite.paths,
            *self.suite.arguments,
        ]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the caller's environment, as a plain run has it."""
        return with_bakery({name: value for name, value in environ.items() if not name.startswith(OURS)})


def started_ahead(suite: SuiteRun, imagefile: Path) -> PytestProcess | None:
    """Return what is to run suites; None where pytest's own words are to be seen.

    As a context manager it starts, and loads while the machine boots.
    """
    return None if suite.speaks else PytestProcess(SuiteStart(folder=imagefile.parent, suite=suite))


def run_suites(
    job: SmokeJob, work: WorkContext, process: PytestProcess | None = None, *, on_terminal: bool = False
) -> SmokeReport:
    """Run a job's suites against its machine.

    Each result is emitted as a `TestEnded` event when it comes, under pytest's own name for it.

    Args:
        job: the machine, and the suites.
        work: takes the events, and cancels.
        process: what `started_ahead` returned for these suites; it ends with them.
        on_terminal: True where the user talks to pytest, as with `--pdb`; then it has no time limit.

    Raises:
        SmokeError: there is no verdict: nothing was collected, or pytest was broken off.
        ConnectError: the machine cannot be reached.
        UsageError: pytest does not take the arguments.
        Interrupted: cancelled.
    """
    suite = job.suite or SuiteRun(paths=(), cache=Path())
    started = time.monotonic()
    outcome = SuiteOutcome(job, work, suite)
    heard = _Lines(work, job.build) if suite.speaks and not on_terminal else None
    start = SuiteStart(folder=job.imagefile.parent, suite=suite, on_terminal=on_terminal)
    deadline = float("inf") if on_terminal else started + job.timeout
    with process or PytestProcess(start, heard) as running:
        for event in running.events(job, deadline, work):
            outcome.take(event)
        running.hear_rest()
        if heard is not None:
            heard.end()
        outcome.check(running)
    return outcome.report(time.monotonic() - started)


def collect_suites(suite: SuiteRun, imagefile: Path, secrets: Mapping[str, str], work: WorkContext) -> None:
    """See that pytest can collect suites, before there is a machine.

    Args:
        suite: the suites.
        imagefile: the file that names them.
        secrets: plain texts, by name, that must not be shown.
        work: cancels. Nothing is emitted.

    Raises:
        SmokeError: it cannot, or there is nothing to collect.
        Interrupted: cancelled.
    """
    suite = replace(suite, collect_only=True, arguments=())
    dry = SmokeJob(
        imagefile=imagefile,
        tests=(),
        builtin=frozenset(),
        endpoint=Endpoint(),
        keys=Keys(user_private="", user_public="", host_private="", host_public=""),
        secrets=secrets,
        junit=Path(),
        timeout=COLLECT_TIME,
        suite=suite,
    )
    quiet = replace(work, emit=lambda _: None)
    outcome = SuiteOutcome(dry, quiet, suite)
    with PytestProcess(SuiteStart(folder=imagefile.parent, suite=suite)) as process:
        for event in process.events(dry, time.monotonic() + COLLECT_TIME, quiet):
            outcome.take(event)
        outcome.check_collected(process)


class SuiteOutcome(ChildOutcome):
    """What came of a suite so far.

    Args:
        job: what was asked.
        work: takes an event for each result.
        suite: the job's suites.
    """

    def __init__(self, job: SmokeJob, work: WorkContext, suite: SuiteRun) -> None:
        super().__init__(job, work)
        self._suite = suite
        self._deselected = 0

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of the child's."""
        match event:
            case {"type": "suite", "deselected": int(count)}:
                self._deselected = count
            case _:
                super().take(event)

    @property
    def _named(self) -> str:
        return " ".join(self._suite.paths) or "the suite"

    def check(self, child: PytestProcess) -> None:
        """Make sure that the exit code is explained by the results."""
        status = self._status_of(child)
        if status in (PASSED, FAILED, INTERRUPTED) and any(r.outcome in ("failed", "error") for r in self.results):
            return
        if status == PASSED and self.results:
            return
        if status in (PASSED, NOTHING):
            raise self._nothing(child)
        what = f"pytest ended with exit code {status} in {self._named}, and no test failed"
        raise SmokeError(what, why=child.last_words())

    def check_collected(self, child: PytestProcess) -> None:
        """Make sure that there is something to run, and that all of it can be collected."""
        status = self._status_of(child)
        if failed := [result for result in self.results if result.outcome == "error"]:
            raise SmokeError(
                f"{self._named}: {counted(len(failed), 'file')} cannot be collected: "
                + ", ".join(result.test or self._named for result in failed),
                why="\n".join(result.text for result in failed),
            )
        if status == NOTHING:
            raise self._nothing(child)
        if status != PASSED:
            raise SmokeError(f"{self._named} cannot be collected", why=child.last_words())

    def _status_of(self, child: PytestProcess) -> int:
        try:
            status = self.ended(child)
        except SmokeError as error:
            if error.why.startswith(f"exit code {USAGE}\n"):  # it ends before there is a session
                raise self._refused(error.why) from error
            raise
        if status == USAGE:
            raise self._refused(child.last_words())
        return status

    def _refused(self, words: str) -> SmokeError | UsageError:
        """Say what pytest does not take: the command line's arguments, or the suite's own settings."""
        family = UsageError if self._suite.arguments else SmokeError
        return family("pytest does not take what it was given", why=words.removeprefix(f"exit code {USAGE}\n"))

    def _nothing(self, child: PytestProcess) -> SmokeError:
        if self._deselected:
            return SmokeError(
                f"no test of {self._named} ran: the arguments leave out all {self._deselected}",
                hint="look at -k, -m and --deselect, also in pytest's addopts",
            )
        return SmokeError(
            f"no test was collected from {self._named}, or none ran",
            why=child.last_words(),
            hint="pytest takes files called test_*.py and functions called test_*, unless its settings say otherwise",
        )


class _Lines:
    """Passes on what pytest writes, in whole lines, so that no secret is cut in two."""

    def __init__(self, work: WorkContext, build: str) -> None:
        self._work = work
        self._build = build
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._say(line)

    def end(self) -> None:
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        self._work.emit(Output(build=self._build, text=line.decode(errors="replace"), stream="pytest"))
