"""Smoke tests: a child pytest with testinfra's `host` on a machine that was booted from the finished image."""

from bakery.smoke.identity import SCRIPT as IDENTITY_SCRIPT
from bakery.smoke.identity import Identity, compare
from bakery.smoke.job import BUILTIN, SmokeJob, SmokeReport, SuiteRun, TestRef, TestResult
from bakery.smoke.runner import run
from bakery.smoke.whole import run_all

__all__ = [
    "BUILTIN",
    "IDENTITY_SCRIPT",
    "Identity",
    "SmokeJob",
    "SmokeReport",
    "SuiteRun",
    "TestRef",
    "TestResult",
    "compare",
    "run",
    "run_all",
]
