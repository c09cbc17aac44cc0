"""`bake list`."""

from __future__ import annotations

from typing import Any

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, as_json
from bakery.cli.project import Project
from bakery.imagefile.describe import describe


@click.command(
    "list",
    cls=BakeCommand,
    epilog="""Examples:
    bake list
    bake list --json | jq -r '.images[].name'""",
)
@as_json
@click.pass_obj
def list_(project: Project, as_json: bool) -> None:
    """Show the images, sources, tasks, tests and variables of the imagefile."""
    description = describe(project.recipe)
    if as_json or project.json:
        output.out_json(description, project)
        return
    for image in description["images"]:
        output.out(_image(image), project)
    if description["variables"]:
        output.out("\n" + click.style("variables", bold=True), project)
        output.out(output.table([_variable(variable) for variable in description["variables"]]), project)


def _image(image: dict[str, Any]) -> str:
    head = f"{click.style(image['name'], bold=True)}  {image['doc']}".rstrip()
    axes = {f"matrix {name}": values for name, values in image["matrix"].items()}
    parts = {key: image[key] for key in ("sources", "tasks", "tests", "suites", "post")}
    rows = [(f"  {name}", ", ".join(map(_name, items))) for name, items in {**axes, **parts}.items() if items]
    return "\n".join([head, output.table(rows)])


def _name(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    scope = [f"{key} {', '.join(item[key])}" for key in ("only", "skip") if item.get(key)]
    scope += ["publishes"] if item.get("publishes") else []
    return f"{item['name']} ({'; '.join(scope)})" if scope else str(item["name"])


def _variable(variable: dict[str, Any]) -> tuple[str, str, str]:
    name, default = variable["name"], variable["default"]
    if variable["secret"]:
        shown = f"secret, from {variable['env']}" if variable["env"] else "secret"
    else:
        shown = f"{variable['type']} = {default!r}" if variable["has_default"] else f"{variable['type']}, needed"
    return f"  {name}", shown, variable["help"]
