"""Settings for all tests."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A slow or busy host is no failure: examples have no time limit of their own, the test as a whole has one.
# The same examples each time, so that a commit is as green for one as for another; `make test-all` takes new ones.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("new"), derandomize=True)
settings.load_profile("same")

# Every `bake` that a test starts would compile the package anew, and take twice the time that users see.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell's `&` and nohup start what they start with SIGINT or SIGHUP ignored, and Python leaves it so, as does what it
# starts: the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a test failed at first, also where it then passed: `-rR` prints its name alone."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed at first: {report.nodeid}", sep="-")
        terminalreporter.line(report.longreprtext)
