"""`bake build`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bakery.cli import output
from bakery.cli.completion import runs, tasks
from bakery.cli.options import FILE, BakeCommand, Duration, PhaseTime, cluster_options, selection, variables
from bakery.cli.project import Project

if TYPE_CHECKING:
    from bakery.build.context import BuildOptions
    from bakery.imagefile.builds import Plan


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake                                     all images, from all their sources
    bake web --only laptop -v release=trixie one image, from one source
    bake web --on-failure=ask                stop at a failed task and ask
    bake build web -o web.qcow2 --depfile web.d   in a Makefile""",
)
@selection
@variables
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Builds at once; as many as fit if not given."
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="LABEL:N",
    help="Builds at once that take this label, or all their memory and processors: kvm:1, memory:8G, cpus:4.",
)
@click.option(
    "--on-failure",
    type=click.Choice(["destroy", "keep", "ask"]),
    default="destroy",
    show_default=True,
    help="What happens to the machine of a task that failed.",
)
@click.option(
    "--no-cache", "cache", flag_value=False, default=True, help="Run every step; read and write no checkpoint."
)
@click.option("--refresh", is_flag=True, help="Run every step again, and renew the checkpoints.")
@click.option(
    "--refresh-task",
    "refresh_tasks",
    multiple=True,
    metavar="TASK",
    shell_complete=tasks,
    help="Run this task and those after it again.",
)
@click.option(
    "--stop-at",
    multiple=True,
    metavar="TASK",
    shell_complete=tasks,
    help="Stop before this task: ask on a terminal, elsewhere leave the machine for `bake ssh`.",
)
@click.option("--step", is_flag=True, help="Stop before each task and after the last, on a terminal.")
@click.option(
    "--no-test",
    "test",
    flag_value=False,
    default=True,
    help="Keep the image without smoke tests; it counts as untested.",
)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write the image here as well; for one image.")
@click.option("--depfile", type=FILE, metavar="FILE", help="Write the files it depends on, in Make's syntax.")
@click.option(
    "--manifest",
    type=FILE,
    metavar="FILE",
    help="Write what the images are made of, as JSON: base, values, packages, tests, digests.",
)
@click.option("--junit", type=FILE, metavar="FILE", help="Write a JUnit report here; the run's folder has one anyway.")
@click.option("--deadline", type=Duration(), metavar="TIME", help="Stop and clean up after this time: 90s, 30m, 2h.")
@click.option(
    "--connect-timeout",
    type=Duration(),
    default="10m",
    metavar="TIME",
    show_default=True,
    help="How long a machine may take from its launch until it lets us in.",
)
@click.option(
    "--phase-timeout",
    "phase_timeouts",
    multiple=True,
    type=PhaseTime(),
    metavar="PHASE=TIME",
    help="Fail when a phase takes longer: capture=10m; provision is all tasks together.",
)
@click.option(
    "--expire", type=Duration(), default="24h", metavar="TIME", help="Rented things older than this count as forgotten."
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    metavar="[RUN]",
    shell_complete=runs,
    help="Go on with a run that was killed; the last if none is named.",
)
@click.option("--offline", is_flag=True, help="Download nothing; say what is missing.")
@cluster_options
@click.option(
    "--clones", type=click.IntRange(1, 8), default=1, metavar="N", help="Test on this many machines, and compare them."
)
@click.pass_obj
def build(
    project: Project, /, *, images: Any, only: Any, exclude: Any, values: Any, var_files: Any, **given: Any
) -> None:
    """Build, test and keep images.

    IMAGE is an image's name, the name that its function returns, or a pattern. Without any, all are built. Only an
    image whose smoke tests pass is kept; its path or id is printed on standard output.
    """
    from bakery.build.outputs import check_outputs, reading
    from bakery.build.run import build as run_build
    from bakery.cli.ask import Ask
    from bakery.cli.redacted_streams import captured
    from bakery.cli.reporters import exit_code, is_terminal, readers, screen
    from bakery.errors import UsageError

    project.check_destinations(**{name: given[name] for name in ("output", "depfile", "manifest", "junit")})
    images, given["resume"] = _run_or_image(project, tuple(images), given["resume"])
    settings = project.settings(values, var_files)
    with reading(project.imagefile.parent, project.state.cache) as inputs:
        plan = project.plan(images, only, exclude, settings)
    options = replace(_options(project, given), inputs=inputs())
    _check_limits(project, plan, given["limits"])
    _check_tasks(plan, given["refresh_tasks"], "--refresh-task")
    _check_tasks(plan, given["stop_at"], "--stop-at")
    check_outputs(plan, options.output, project.drivers, options.output_name)
    shown = screen(project)
    ask = Ask(shown) if is_terminal(shown) and sys.stdin.isatty() else None
    if given["step"] and ask is None:
        raise UsageError("--step needs a terminal", hint="--stop-at TASK leaves the machine where there is none")
    reporters = readers(project, shown, project.path(given["junit"]))
    cluster = project.cluster(given)
    with captured(project.redactor, shown):
        outcome = run_build(
            plan,
            project.recipe,
            settings,
            options,
            project.state,
            drivers=project.drivers,
            redactor=project.redactor,
            readers=reporters,
            ask=ask,
            cluster=cluster,
        )
    if not project.json and not (is_terminal(shown) and sys.stdout.isatty()):
        for artifact in outcome.artifacts.values():  # on a terminal the closing table has shown them
            output.out(artifact.id, project)
    raise click.exceptions.Exit(exit_code(outcome.exit_code, reporters))


def _options(project: Project, given: dict[str, Any]) -> BuildOptions:
    from bakery.build.context import BuildOptions
    from bakery.build.phase_timeouts import checked
    from bakery.imagefile.labels import limits

    stop_at = frozenset(given["stop_at"])  # where it stops, nothing may have been restored beyond
    refresh = frozenset({"*"}) if given["refresh"] or given["step"] else frozenset(given["refresh_tasks"]) | stop_at
    return BuildOptions(
        jobs=given["jobs"],
        on_failure=given["on_failure"],
        cache=given["cache"],
        refresh=refresh,
        stop_at=stop_at,
        step=given["step"],
        test=given["test"],
        output=project.path(given["output"]),
        output_name=given["output"] or "",
        began=project.began,
        depfile=project.path(given["depfile"]),
        manifest=project.path(given["manifest"]),
        deadline=given["deadline"],
        resume=_run_to_resume(project, given["resume"]),
        offline=given["offline"],
        expire=given["expire"],
        connect_timeout=given["connect_timeout"],
        clones=given["clones"],
        limits=limits(given["limits"], project.environ),
        phase_timeouts=checked(dict(given["phase_timeouts"])),
    )


def _check_limits(project: Project, plan: Plan, given: tuple[str, ...]) -> None:
    from bakery.imagefile.labels import HOST, refuse_unknown

    if given:
        needs = [project.drivers.get(build.driver).needs(build.boot) for build in plan.builds]
        taken = {name for build in plan.builds for name in (build.driver, *build.labels)}
        refuse_unknown(given, {*HOST, *taken, *(name for need in needs for name, _ in need.labels)})


def _check_tasks(plan: Plan, names: tuple[str, ...], option: str) -> None:
    """Refuse a name that no task of these builds has: nothing would come of it."""
    from bakery.errors import UsageError
    from bakery.util.suggestions import did_you_mean

    known = list(dict.fromkeys(step.name for build in plan.builds for step in build.steps))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, otherwise="tasks are")
            raise UsageError(f"no task is called {name!r} ({option})", hint=hint)


def _run_or_image(project: Project, images: tuple[str, ...], resume: str | None) -> tuple[tuple[str, ...], str | None]:
    """Tell the run from the image in `--resume web`: the word behind it may have been meant for either."""
    from bakery.imagefile.plan import is_image

    if resume in (None, "last") or any(resume in run.id for run in project.state.runs()):
        return images, resume
    return ((*images, resume), "last") if is_image(project.recipe, resume) else (images, resume)


def _run_to_resume(project: Project, name: str | None) -> str | None:
    from bakery.errors import UsageError

    if name is None:
        return None
    if name != "last":
        return project.state.run(name).id
    runs = [run for run in project.state.runs() if run.readable]
    if not runs:
        raise UsageError("there is no run to resume", hint="`bake build` starts one")
    left = (run for run in reversed(runs) if not run.alive and run.replay().live())
    return next(left, runs[-1]).id  # later ones may have been a look at an image
