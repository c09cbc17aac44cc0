"""Smoke tests: a child pytest with testinfra's `host` on a machine that was booted from the finished image."""

from bakery.smoke.identity import SCRIPT as IDENTITY_SCRIPT
from bakery.smoke.identity import Identity, compare
from bakery.smoke.job import BUILTIN, SmokeJob, SmokeReport, SuiteRun, TestRef, TestResult

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
]
