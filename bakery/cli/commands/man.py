"""`bake man`."""

from __future__ import annotations

from pathlib import Path

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project
from bakery.errors import UsageError, near


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake man build | man -l -
    sudo bake man --to /usr/local/share/man/man1      then: man bake-build""",
)
@click.argument("command", required=False)
@click.option("--to", type=click.Path(), metavar="DIR", help="Write all pages into this folder.")
@click.pass_obj
def man(project: Project, /, *, command: str | None, to: str | None) -> None:
    """Print a manual page: the command's own, or that of one of its commands; or write them all."""
    from bakery.cli.manpages import pages

    made = dict(pages())
    if to is not None:
        _write(project, project.folder / to, made)
        return
    name = f"bake-{command}.1" if command else "bake.1"
    if name not in made:
        raise UsageError(f"there is no command {command!r}", hint="`bake --help` lists them")
    click.echo(made[name], nl=False)


def _write(project: Project, folder: Path, made: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (folder / name).write_text(text, encoding="utf-8")
            output.record(near(str(folder / name)), {"did": "written", "file": str(folder / name)}, project)
    except OSError as error:
        raise UsageError(f"cannot write into {folder}", why=error.strerror or str(error)) from error
