"""From a build to the smoke tests of its image, and from their report to a sentence."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from bakery.build.job import Job
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.smoke.job import SmokeJob, SmokeReport, TestRef, builtin
from bakery.smoke.runner import PytestProcess, PytestStart


def start_test_process(scope: Scope) -> PytestProcess:
    """Return the process that runs the tests. As a context manager it starts, and loads while the machine boots."""
    job = scope.job
    start = PytestStart.on(
        job.imagefile, builtin(job.options.builtin_tests), test_refs(job), junit=_junit(scope), build=job.name
    )
    return PytestProcess(start)


def test_refs(job: Job) -> tuple[TestRef, ...]:
    """Return the tests of a build, as another process finds them."""
    image = job.build.spec
    numbers = {id(function): number for number, function in enumerate(job.recipe.image(image).tests)}
    return tuple(TestRef.of(job.recipe, image, numbers[id(test.function)]) for test in job.tests)


def _junit(scope: Scope) -> Path:
    return scope.run.folder.path / "smoke" / f"{quote(scope.job.name, safe='@')}.xml"


def smoke_job(scope: Scope, running: RunningMachine) -> SmokeJob:
    """Say what is to be tested on this machine."""
    job = scope.job
    return SmokeJob(
        imagefile=job.imagefile,
        tests=test_refs(job),
        builtin=builtin(job.options.builtin_tests),
        endpoint=running.driver.endpoint(running.handle),
        keys=running.claim.keys,
        variables=job.variables,
        secrets={name: secret.reveal() for name, secret in job.secrets.items()},
        builder=scope.identity,
        junit=_junit(scope),
        build=job.name,
        strict_host=job.options.strict_host,
    )


def summary(report: SmokeReport) -> str:
    """Return `2 of 9 smoke tests failed: nginx_runs, no_failed_units`."""
    names = ", ".join(result.test for result in report.failures)
    return f"{len(report.failures)} of {len(report.results)} smoke tests failed: {names}"
