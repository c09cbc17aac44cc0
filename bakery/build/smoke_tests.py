"""From a build to the smoke tests of its image, and from their report to a sentence."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from bakery.build.job import Job
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.imagefile.node_images import named_images
from bakery.imagefile.suites import OtherHosts, Suites
from bakery.model import EMPTY, Artifact
from bakery.smoke.job import CloneAccess, SmokeJob, SmokeReport, SuiteRun, TestRef, at_first_boot, builtin
from bakery.smoke.process import PytestProcess, PytestStart
from bakery.smoke.whole import StartedTests
from bakery.state.project import State


@contextmanager
def started_tests(scope: Scope, choice: SuiteChoice | None = None) -> Generator[StartedTests]:
    """Start what runs the tests, so that it loads while the machine boots.

    Args:
        scope: the build's.
        choice: what the user asks of suites besides.
    """
    job = scope.job
    own, tests = at_first_boot(builtin(job.options.builtin_tests)), test_refs(job)
    suite = suite_run(job, scope.run.state, choice)
    started = StartedTests()
    with ExitStack() as stack:
        if own or tests:
            start = PytestStart.on(job.imagefile, own, tests, junit=_junit(scope), build=job.name)
            started = replace(started, own=stack.enter_context(PytestProcess(start)))
        if suite is not None and not (choice and choice.terminal):
            from bakery.smoke.suites import started_ahead

            if ahead := started_ahead(suite, job.imagefile):
                started = replace(started, suites=stack.enter_context(ahead))
        yield started


def test_refs(job: Job) -> tuple[TestRef, ...]:
    """Return the tests of a build, as another process finds them."""
    image = job.build.spec
    numbers = {id(function): number for number, function in enumerate(job.recipe.image(image).tests)}
    return tuple(TestRef.of(job.recipe, image, numbers[id(test.function)]) for test in job.tests)


@dataclass(frozen=True)
class SuiteChoice:
    """What the user asks of suites besides what the imagefile says: `bake test IMAGE tests/ -- -k nginx`.

    Args:
        paths: folders, files and node ids in place of the image's own suites; relative to the imagefile's folder.
        arguments: pytest's.
        hosts: further names that mean the machine under test in `testinfra_hosts`.
        other_hosts: what becomes of other hosts; None for what the image says.
        user: who commands run as; None for what the image says.
        clones: machines of the image that run at once.
        terminal: makes room on the terminal for pytest to talk to the user; None where it does not.
    """

    paths: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    other_hosts: OtherHosts | None = None
    user: Literal["root", "login"] | None = None
    clones: int = 1
    terminal: Callable[[], AbstractContextManager[Any]] | None = None

    @property
    def is_whole(self) -> bool:
        """True where all of the image's own tests run, and nothing else: they decide on its verdict."""
        return not self.paths and not self.arguments


def suite_run(job: Job, state: State, choice: SuiteChoice | None = None) -> SuiteRun | None:
    """Return what runs of pytest suites; None where there are none.

    Args:
        job: the image's build.
        state: the project's, which keeps pytest's cache.
        choice: the user's.
    """
    choice = choice or SuiteChoice()
    paths = choice.paths or job.build.suites
    if not paths and not choice.arguments:
        return None
    said = job.options.suites or Suites()
    options = replace(
        said,
        hosts=(*said.hosts, *choice.hosts),
        other_hosts=choice.other_hosts or said.other_hosts,
        user=choice.user or said.user,
    )
    names = dict.fromkeys((job.build.image, job.build.spec, job.build.source))
    cache = state.folder / "pytest" / quote(job.name, safe="@")
    return SuiteRun(
        paths=tuple(paths),
        arguments=choice.arguments,
        names=tuple(names),
        nodes=tuple(named_images(job.recipe.image(job.build.spec))),
        options=options,
        cache=cache,
    )


def check_suites(scope: Scope) -> None:
    """See that pytest can collect an image's suites, before anything is made.

    Raises:
        SmokeError: it cannot, or there is nothing to collect.
    """
    suite = suite_run(scope.job, scope.run.state)
    if suite is None or not scope.run.options.test:
        return
    from bakery.smoke.suites import collect_suites

    secrets = {name: secret.reveal() for name, secret in scope.job.secrets.items()}
    collect_suites(suite, scope.job.imagefile, secrets, scope.run.work(scope.job.name))


def _junit(scope: Scope) -> Path:
    return scope.run.folder.path / "smoke" / f"{quote(scope.job.name, safe='@')}.xml"


@contextmanager
def other_machines(scope: Scope, artifact: Artifact, count: int) -> Generator[tuple[RunningMachine, ...]]:
    """Start more machines of an image, beside the one that runs already.

    Args:
        scope: the build's.
        artifact: the image.
        count: machines in all.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(scope.machine(artifact, role="clone")) for _ in range(1, count))


def smoke_job(
    scope: Scope,
    running: RunningMachine,
    clones: Sequence[RunningMachine] = (),
    nodes: Mapping[str, RunningMachine] = EMPTY,
) -> SmokeJob:
    """Say what is to be tested on this machine, and which others of its image, and of other images, run."""
    job = scope.job
    return SmokeJob(
        imagefile=job.imagefile,
        tests=test_refs(job),
        builtin=at_first_boot(builtin(job.options.builtin_tests)),
        endpoint=running.driver.endpoint(running.handle),
        keys=running.claim.keys,
        variables=job.variables,
        secrets={name: secret.reveal() for name, secret in job.secrets.items()},
        builder=scope.identity,
        junit=_junit(scope),
        build=job.name,
        strict_host=job.options.strict_host,
        clones=tuple(map(_access, clones)),
        name=job.build.spec,
        nodes={name: _access(node) for name, node in nodes.items()},
        absent=absent_nodes(job, nodes),
    )


def _access(running: RunningMachine) -> CloneAccess:
    return CloneAccess(endpoint=running.driver.endpoint(running.handle), keys=running.claim.keys)


def absent_nodes(job: Job, nodes: Mapping[str, RunningMachine] = EMPTY) -> tuple[str, ...]:
    """Return the names of machines that an image's tests may ask for, and that do not run beside this one."""
    return tuple(name for name in named_images(job.recipe.image(job.build.spec)) if name not in nodes)


def summary(report: SmokeReport) -> str:
    """Return `2 of 9 smoke tests failed: nginx_runs, no_failed_units`."""
    names = ", ".join(result.test for result in report.failures)
    return f"{len(report.failures)} of {len(report.results)} smoke tests failed: {names}"
