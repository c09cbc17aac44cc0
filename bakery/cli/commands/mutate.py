"""`bake mutate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bakery.cli import output
from bakery.cli.completion import built
from bakery.cli.options import BakeCommand, Duration, as_json, variables
from bakery.cli.project import Project

if TYPE_CHECKING:
    from bakery.build.context import RunContext
    from bakery.build.mutate import MutationResult

KINDS = ("service", "port", "file", "mode", "package", "kernel", "clock", "dns")


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake mutate web                       twenty machines, each with one thing broken
    bake mutate web --kind service --kind port --limit 50 --jobs 4""",
)
@click.argument("image", metavar="IMAGE", shell_complete=built)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Break this kind of thing; repeatable.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Machines at most.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Machines at once.")
@click.option("--deadline", type=Duration(), metavar="TIME", help="Stop and clean up after this time: 90s, 30m, 2h.")
@variables
@as_json
@click.pass_obj
def mutate(
    project: Project,
    /,
    *,
    image: str,
    kinds: tuple[str, ...],
    limit: int,
    jobs: int,
    deadline: float | None,
    values: Any,
    var_files: Any,
    as_json: bool,
) -> None:
    """Break one thing after the other on machines of an image, and list what its tests do not notice."""
    from bakery.build.mutate import Mutants
    from bakery.build.one_off import build_of
    from bakery.cli.reporters import exit_code, readers, screen

    artifact = project.image(image)
    settings = project.settings(values, var_files)
    plan = project.plan((), (), (), settings)
    build = build_of(artifact, plan)
    reporters = readers(project, screen(project))
    visit = project.one_off_run(plan, settings, reporters, deadline=deadline)
    made: list[Mutants] = []

    def break_all(run: RunContext) -> None:
        mutants = Mutants(run, visit.jobs[build.name], artifact, kinds=kinds, limit=limit, at_once=jobs)
        made.append(mutants)
        mutants.all()

    code = visit.go(build, artifact.driver, break_all, needs_secrets=True)
    results = made[0].results if made else []
    if as_json and not project.json:
        output.out_json(
            {"version": 1, "image": artifact.name, "changes": [each.to_json() for each in results]}, project
        )
    elif not project.json:
        output.out(output.table([_row(result) for result in results]), project)
    raise click.exceptions.Exit(exit_code(code, reporters))


def _row(result: MutationResult) -> tuple[str, str]:
    if result.problem:
        return str(result.mutation), f"not tried: {result.problem}"
    return str(result.mutation), ", ".join(result.noticed) or "NOT NOTICED"
