"""`bake plan`."""

from __future__ import annotations

from typing import Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, as_json, selection, variables
from bakery.cli.project import Project
from bakery.imagefile.builds import Build, Plan, Step
from bakery.imagefile.describe import value_text
from bakery.imagefile.diagram import base_text
from bakery.imagefile.variables import Settings


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake plan                       needs no credentials and makes nothing
    bake plan web -v workers=8 --explain
    bake plan --json > plan.json    the same file gives the same plan""",
)
@selection
@variables
@click.option("--explain", is_flag=True, help="Also say of each step whether it is cached, or why not.")
@as_json
@click.pass_obj
def plan(
    project: Project,
    /,
    *,
    images: Any,
    only: Any,
    exclude: Any,
    values: Any,
    var_files: Any,
    explain: bool,
    as_json: bool,
) -> None:
    """Show what a build would do: its steps, its values, and where each value came from."""
    settings = project.settings(values, var_files)
    planned = project.plan(images, only, exclude, settings)
    if as_json or project.json:
        output.out_json(planned.to_json(), project)
        return
    reasons = _reasons(project, planned, settings) if explain else {}
    for build in planned.builds:
        output.out(_build(build, reasons.get(build.name, {})), project)
    for warning in planned.warnings:
        output.note(f"warning: {warning}", project)


def _reasons(project: Project, planned: Plan, settings: Settings) -> dict[str, dict[str, str]]:
    """Return what would happen to each task, by the build's name and the task's."""
    from bakery.build.context import BuildOptions
    from bakery.build.explain import explain
    from bakery.build.job import Jobs

    explained = explain(Jobs(planned, project.recipe, settings), BuildOptions(), project.state)
    return {build.name: {item.step.name: str(item) for item in items} for build, items in explained}


def _build(build: Build, reasons: dict[str, str]) -> str:
    head = click.style(build.name, bold=True)
    if build.publishes:
        lines = [f"{head}  publishes {build.image} of {', '.join(build.after)} with {build.driver}"]
    else:
        after = f", after {', '.join(build.after)}" if build.after else ""
        lines = [f"{head}  makes {build.image} with {build.driver}{after}"]
        lines += [f"  because {build.because}"] if build.because else []
        base = base_text(build.boot)
        lines += [f"  from {base}"] if base else []
        lines += (
            [f"  tested beside {', '.join(f'{name} ({build.nodes[name]})' for name in build.nodes)}"]
            if build.nodes
            else []
        )
    lines += _steps("tasks", build.steps, reasons)
    lines += _steps("tests", build.tests, {})
    lines += ["  suites", *(f"    {suite}" for suite in build.suites)] if build.suites else []
    lines += _steps("post", build.post, {})
    if build.variables:
        lines += ["  values", *(f"    {value_text(value)}" for value in build.variables)]
    return "\n".join([*lines, ""])


def _steps(title: str, steps: tuple[Step, ...], reasons: dict[str, str]) -> list[str]:
    rows = [(f"    {step.name}", reasons.get(step.name, step.doc), step.where) for step in steps]
    return [f"  {title}", output.table(rows)] if rows else []
