"""From a build to the smoke tests of its image, and from their report to a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.redaction.secret import Secret
from bakery.smoke.job import SmokeJob, SmokeReport, TestRef, builtin
from bakery.smoke.runner import PytestProcess, PytestStart


def start_test_process(scope: Scope) -> PytestProcess:
    """Return the process that runs the tests. As a context manager it starts, and loads while the machine boots."""
    build, recipe = scope.build, scope.context.recipe
    tests = [TestRef.of(recipe, build.spec, test.index) for test in build.tests]
    start = PytestStart.on(recipe.file, _builtin(scope), tests, junit=_junit(scope), build=build.name)
    return PytestProcess(start)


def _builtin(scope: Scope) -> frozenset[str]:
    return builtin(scope.context.recipe.image(scope.build.spec).options.get("builtin_tests", True))


def _junit(scope: Scope) -> Path:
    return scope.context.run.path / "smoke" / f"{quote(scope.build.name, safe='@')}.xml"


def job(scope: Scope, running: RunningMachine, variables: Any) -> SmokeJob:
    """Say what is to be tested on this machine."""
    build, context = scope.build, scope.context
    secrets = {value.name: getattr(variables, value.name) for value in build.variables if value.secret}
    return SmokeJob(
        imagefile=context.recipe.file,
        tests=tuple(TestRef.of(context.recipe, build.spec, test.index) for test in build.tests),
        builtin=_builtin(scope),
        endpoint=running.driver.endpoint(running.handle),
        keys=running.claim.keys,
        variables=variables,
        secrets={name: secret.reveal() for name, secret in secrets.items() if isinstance(secret, Secret)},
        builder=scope.identity,
        junit=_junit(scope),
        build=build.name,
        strict_host=bool(context.recipe.image(build.spec).options.get("strict_host", True)),
    )


def summary(report: SmokeReport) -> str:
    """Return `2 of 9 smoke tests failed: nginx_runs, no_failed_units`."""
    names = ", ".join(result.test for result in report.failures)
    return f"{len(report.failures)} of {len(report.results)} smoke tests failed: {names}"
