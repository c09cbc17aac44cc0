"""All tests of one machine: the built-in ones, those of the imagefile, then the user's pytest suites; one report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from bakery.smoke.identity import Identity
from bakery.smoke.job import SmokeJob, SmokeReport, SuiteRun
from bakery.smoke.process import PytestProcess
from bakery.smoke.runner import refuse_untested, run
from bakery.util.context import WorkContext


@dataclass(frozen=True)
class StartedTests:
    """Processes of pytest that load while the machine boots.

    Args:
        own: what runs the built-in tests and those of the imagefile.
        suites: what runs the suites.
    """

    own: PytestProcess | None = None
    suites: PytestProcess | None = None


def run_all(
    job: SmokeJob,
    suite: SuiteRun | None,
    work: WorkContext,
    started: StartedTests | None = None,
    terminal: Callable[[], AbstractContextManager[Any]] | None = None,
) -> SmokeReport:
    """Run all tests of a machine.

    Args:
        job: the machine, the built-in tests and those of the imagefile.
        suite: the suites; None without any.
        work: takes the events, and cancels.
        started: the processes that run them, if they were started already.
        terminal: makes room for pytest to talk to the user; None where it does not.

    Raises:
        SmokeError: there is no verdict; see `run` and `run_suites`.
        ConnectError: the machine cannot be reached.
        Interrupted: cancelled.
    """
    started = started or StartedTests()
    if suite is None:
        return run(job, work, started.own)
    first = run(job, work, started.own, alone=False) if job.tests or job.builtin else _NONE
    report = first + _suites(replace(job, tests=(), builtin=frozenset(), suite=suite), work, started.suites, terminal)
    refuse_untested(report)
    return report


_NONE = SmokeReport(results=(), seconds=0.0, identity=Identity())


def _suites(
    job: SmokeJob,
    work: WorkContext,
    process: PytestProcess | None,
    terminal: Callable[[], AbstractContextManager[Any]] | None,
) -> SmokeReport:
    from bakery.smoke.suites import run_suites

    with terminal() if terminal is not None else nullcontext():
        return run_suites(replace(job, timeout=SUITE_TIME), work, process, on_terminal=terminal is not None)


SUITE_TIME = 3600.0
"""Seconds for all suites of a machine."""
