"""`bake graph`."""

from __future__ import annotations

from typing import Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, selection, variables
from bakery.cli.project import Project
from bakery.imagefile.diagram import dot, mermaid


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake graph                               paste it into Markdown, in a block named mermaid
    bake graph --as dot | dot -Tsvg > images.svg
    bake graph web --only laptop""",
)
@selection
@variables
@click.option("--as", "form", type=click.Choice(["mermaid", "dot"]), default="mermaid", help="In which language.")
@click.pass_obj
def graph(project: Project, /, *, images: Any, only: Any, exclude: Any, values: Any, var_files: Any, form: str) -> None:
    """Draw which image stands on which: the plan as text that Mermaid or Graphviz makes a picture of.

    Needs no credentials and makes nothing.
    """
    plan = project.plan(images, only, exclude, project.settings(values, var_files))
    if project.json:
        output.out_json(plan.to_json(), project)
        return
    output.out((mermaid if form == "mermaid" else dot)(plan), project)
    for warning in plan.warnings:
        output.note(f"warning: {warning}", project)
