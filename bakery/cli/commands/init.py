"""`bake init`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project
from bakery.cli.starters import STARTERS, TEMPLATES, files_of
from bakery.errors import UsageError, near
from bakery.imagefile.loader import FILE

IGNORED = ".bakery/"


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake init && bake
    bake init --template golden --driver ec2
    bake init --template ci              also in a project that has an imagefile
    bake -C images init""",
)
@click.option(
    "--driver", type=click.Choice(list(STARTERS)), default="local", show_default=True, help="Where images are built."
)
@click.option(
    "--template",
    type=click.Choice(list(TEMPLATES)),
    default="minimal",
    show_default=True,
    help=f"What is written: {'; '.join(f'{name}: {text}' for name, text in TEMPLATES.items())}.",
)
@click.pass_obj
def init(project: Project, /, *, driver: str, template: str) -> None:
    """Write a first imagefile here, and the jobs of a CI service if they are wanted; never over a file that exists."""
    name = project.file or FILE
    wanted = {project.folder / path: text for path, text in files_of(template, driver, name).items()}
    file = project.folder / name
    if template == "ci" and file.exists():
        del wanted[file]  # the jobs are for what is there
    if there := [path for path in wanted if path.exists()]:
        raise UsageError(f"{near(str(there[0]))} exists already, and stays as it is", hint=_instead(file, name, there))
    for path, text in wanted.items():
        _write(path, text, folder=path.parent != file.parent)
        output.record(near(str(path)), {"did": "written", "file": str(path)}, project)
    _ignore(file.parent)
    looks = f"bake doctor {STARTERS[driver].drivers or driver}"
    output.note(f"next: `{looks}` looks at this host, `bake` builds the image", project)


def _instead(file: Path, name: str, there: Sequence[Path]) -> str:
    """Say what to do where something exists already."""
    if file not in there:
        return "move it away, and `bake init --template ci` writes the jobs of both services"
    return (
        f"`bake list` shows what is in it, `bake` builds it; `bake init --template ci` adds the jobs of a CI service; "
        f"`bake -f other-{name} init` writes a second imagefile, `bake -C FOLDER init` one elsewhere"
    )


def _write(path: Path, text: str, *, folder: bool) -> None:
    try:
        if folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}", why=error.strerror or str(error)) from error


def _ignore(folder: Path) -> None:
    """Keep `.bakery/` out of git, where the folder is part of a repository."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return
    path = folder / ".gitignore"
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if IGNORED.rstrip("/") in {line.strip().rstrip("/") for line in known.splitlines()}:
        return
    newline = "" if not known or known.endswith(os.linesep) else "\n"
    path.write_text(f"{known}{newline}{IGNORED}\n", encoding="utf-8")
