"""`bake why`."""

from __future__ import annotations

from typing import Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, as_json, selection, variables
from bakery.cli.project import Project


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake why web
    bake why web --only laptop -v workers=8     as if this had been said to `bake build`""",
)
@selection
@variables
@as_json
@click.pass_obj
def why(
    project: Project, /, *, images: Any, only: Any, exclude: Any, values: Any, var_files: Any, as_json: bool
) -> None:
    """Say which input makes a step run again: a file, a constant, a variable, the base, an option.

    Compares with the last run of each step on this host. A build without a step to run is up to date.
    """
    from bakery.build.context import BuildOptions
    from bakery.build.explain import explain, why_tested
    from bakery.build.job import Jobs

    settings = project.settings(values, var_files)
    planned = project.plan(images, only, exclude, settings)
    jobs = Jobs(planned, project.recipe, settings)
    explained = list(explain(jobs, BuildOptions(), project.state))
    tested = {build.name: why_tested(jobs[build.name], items, project.state) for build, items in explained}
    if as_json or project.json:
        builds = [
            {
                "build": build.name,
                "steps": [{"step": item.step.name, "reasons": list(item.reasons)} for item in items],
                "tests": tested[build.name],
            }
            for build, items in explained
        ]
        output.out_json({"version": 1, "builds": builds}, project)
        return
    for build, items in explained:
        first = next((item for item in items if item.reasons), None)
        again = f"is tested: {tested[build.name]}" if tested[build.name] else "nothing has changed"
        state = f"starts at {first.step.name}" if first else again
        output.out(f"{click.style(build.name, bold=True)}  {state}", project)
        output.out(output.table([(f"  {item.step.name}", str(item), item.step.where) for item in items]), project)
