"""`bake doctor`."""

from __future__ import annotations

from typing import Final

import click

from bakery.build.doctor import CheckResult, examine
from bakery.cli import output
from bakery.cli.completion import drivers as complete_drivers
from bakery.cli.options import BakeCommand, as_json
from bakery.cli.project import Project

MARKS: Final = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "missing": ("✗", "red"), "info": ("·", None)}


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake doctor
    bake doctor qemu ec2            only these drivers; exit code 4 when one of them cannot work
    bake doctor --json""",
)
@click.argument("drivers", nargs=-1, metavar="[DRIVER]...", shell_complete=complete_drivers)
@as_json
@click.pass_obj
def doctor(project: Project, drivers: tuple[str, ...], as_json: bool) -> None:
    """Say what this host can do: each driver, its programs, credentials and acceleration; and what is missing.

    Looks only; makes nothing and asks no provider for anything that costs.
    """
    results = list(examine(project.drivers, drivers, project.environ))
    if as_json or project.json:
        output.out_json({"version": 1, "findings": [finding.to_json() for finding in results]}, project)
    else:
        about = ""
        for finding in results:
            if finding.about != about:
                about = finding.about
                output.out(click.style(about, bold=True), project)
            output.out(_line(finding), project)
    broken = {finding.about for finding in results if finding.state == "missing"}
    if broken & set(drivers):
        raise click.exceptions.Exit(4)


def _line(finding: CheckResult) -> str:
    mark, colour = MARKS[finding.state]
    parts = [finding.text, finding.why, f"-> {finding.hint}" if finding.hint else ""]
    return f"  {click.style(mark, fg=colour)} " + "\n      ".join(part for part in parts if part)
