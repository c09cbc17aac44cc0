"""From a build to the smoke tests of its image, and from their report to a sentence."""

from __future__ import annotations

from typing import Any

from bakery._secret import Secret
from bakery.scope import Running, Scope
from bakery.smoke.job import SmokeJob, SmokeReport, TestRef, builtin


def job(scope: Scope, running: Running, variables: Any) -> SmokeJob:
    """Say what is to be tested on this machine."""
    build, context = scope.build, scope.context
    spec = context.recipe.image(build.spec)
    secrets = {value.name: getattr(variables, value.name) for value in build.variables if value.secret}
    return SmokeJob(
        imagefile=context.recipe.file,
        tests=tuple(TestRef.of(context.recipe, build.spec, test.index) for test in build.tests),
        builtin=builtin(spec.options.get("builtin_tests", True)),
        endpoint=running.driver.endpoint(running.handle),
        keys=running.claim.keys,
        variables=variables,
        secrets={name: secret.reveal() for name, secret in secrets.items() if isinstance(secret, Secret)},
        builder=scope.identity,
        junit=running.claim.folder / "smoke.xml",
        build=build.name,
    )


def summary(report: SmokeReport) -> str:
    """Return `2 of 9 smoke tests failed: nginx_runs, no_failed_units`."""
    names = ", ".join(result.test for result in report.failures)
    return f"{len(report.failures)} of {len(report.results)} smoke tests failed: {names}"
