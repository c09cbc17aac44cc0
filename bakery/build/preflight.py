"""A look at every build's host or provider before anything is made; all problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bakery.build import disk_layout
from bakery.build.context import RunContext
from bakery.build.namesakes import made_elsewhere
from bakery.drivers.publisher import Publisher
from bakery.errors import PreflightError
from bakery.events import Notice
from bakery.imagefile.builds import Build, ImageRef
from bakery.model import Needs, Problem


def check_builds(run: RunContext, builds: Sequence[Build]) -> None:
    """See that builds can be made; warn of what is not fatal.

    Args:
        run: the run.
        builds: what is to be made.

    Raises:
        PreflightError: a build would fail; with all that is wrong.
    """
    problems = [(build, problem) for build in builds for problem in _problems(run, build)]
    _warn(run, [(build, problem) for build, problem in problems if not problem.fatal])
    fatal = [(build, problem) for build, problem in problems if problem.fatal]
    lines = list(dict.fromkeys(_line(run, build, problem) for build, problem in fatal))
    if len(lines) == 1:
        build, problem = fatal[0]
        where = run.jobs[build.name].source_location
        raise PreflightError(problem.what, why=problem.why, hint=problem.hint, where=where)
    if lines:
        raise PreflightError(f"{len(lines)} problems before the start", why="\n".join(lines))


def _warn(run: RunContext, problems: Sequence[tuple[Build, Problem]]) -> None:
    """Say each warning once: this host's concern every build that runs on it."""
    builds: dict[tuple[str, str, str], list[str]] = {}
    for build, problem in problems:
        builds.setdefault((problem.what, problem.why, problem.hint), []).append(build.name)
    for (what, why, hint), names in builds.items():
        message = f"{what}: {why}" if why else what
        run.emit(Notice(build=names[0] if len(names) == 1 else "", level="warning", message=message, hint=hint))


def needs_of(run: RunContext, build: Build) -> Needs:
    """Return what a build takes of this host, and of what `--limit` bounds."""
    needs = run.drivers.get(build.driver).needs(build.boot)
    if run.options.test:  # its tests have as many machines at once
        needs = replace(needs, memory=needs.memory * run.options.clones, cpus=needs.cpus * run.options.clones)
        for maker in (run.jobs[name].build for name in build.nodes.values()):
            more = run.drivers.get(maker.driver).needs(maker.boot)
            needs = replace(needs, memory=needs.memory + more.memory, cpus=needs.cpus + more.cpus)
    return needs.taking({build.driver: 1, **build.labels})


def _problems(run: RunContext, build: Build) -> Iterator[Problem]:
    run.cancel.check()
    driver = run.drivers.get(build.driver)
    yield from _too_large(run, build)
    yield from driver.name_conflicts(build.boot, run.naming.foresee(run.jobs[build.name], run.state))
    yield from made_elsewhere(run, build)
    yield from disk_layout.check(run.jobs[build.name])
    if isinstance(build.boot, Publisher):
        yield from build.boot.check()
    elif not isinstance(build.boot.base, ImageRef):  # whose base does not exist yet: the driver looks at launch
        yield from driver.check(build.boot)


def _too_large(run: RunContext, build: Build) -> Iterator[Problem]:
    """Say what a build takes more of than there is: it would wait for ever."""
    limits = run.options.limits
    for name, count in needs_of(run, build).labels:
        if count > limits.get(name, count):
            yield Problem(what=f"it takes {count} of {name}, and the limit is {limits[name]}", hint="see --limit")


def _line(run: RunContext, build: Build, problem: Problem) -> str:
    where = run.jobs[build.name].source_location
    head = f"{build.name} ({where})" if where else build.name
    return "; ".join(filter(None, (f"{head}: {problem.what}", problem.why, problem.hint)))
