"""`bake validate`."""

from __future__ import annotations

from typing import Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, as_json, selection, variables
from bakery.cli.project import Project
from bakery.errors import near
from bakery.util.units import counted


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake validate                   before a commit, in an editor, in CI
    bake validate --var-file ci.toml
    bake validate --json | jq .builds""",
)
@selection
@variables
@as_json
@click.pass_obj
def validate(
    project: Project, /, *, images: Any, only: Any, exclude: Any, values: Any, var_files: Any, as_json: bool
) -> None:
    """Look for mistakes in the imagefile and its variables; exit code 3 where there is one.

    Makes nothing and asks nobody: neither this host's tools nor a provider. A secret that is missing is no mistake of
    the imagefile's: it is named.
    """
    from bakery.build.job import Jobs

    settings = project.settings(values, var_files)
    plan = project.plan(images, only, exclude, settings)
    jobs = Jobs(plan, project.recipe, settings)
    secrets = sorted({name for build in plan.builds for name in jobs[build.name].missing_secrets})
    if as_json or project.json:
        output.out_json(
            {
                "version": 1,
                "imagefile": str(project.imagefile),
                "builds": [build.name for build in plan.builds],
                "warnings": list(plan.warnings),
                "missing_secrets": secrets,
            },
            project,
        )
        return
    images_named = len({build.spec for build in plan.builds})
    amount = f"{counted(images_named, 'image')}, {counted(len(plan.builds), 'build')}"
    output.out(f"{near(str(project.imagefile))}: {amount}, no mistake found", project)
    for warning in plan.warnings:
        output.note(f"warning: {warning}", project)
    for name in secrets:
        output.note(f"to build, the secret {name} is needed; it is not given here", project)
