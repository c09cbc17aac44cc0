"""`bake images`, `bake rm`, `bake prune`, `bake rollback`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any, Final

import click

from bakery.build.kept_images import excess, remove, status
from bakery.build.versions import roll_back
from bakery.cli import output
from bakery.cli.completion import built
from bakery.cli.options import BakeCommand, as_json
from bakery.cli.project import Project
from bakery.errors import UsageError, near
from bakery.model import Artifact, to_json
from bakery.reporting.summary import VERDICTS
from bakery.state.image_names import short_name
from bakery.state.versions import VERSION, is_current
from bakery.util.units import counted, format_size

SAID: Final = {"untested": "was never tested", "failed": "did not pass its tests"}
"""What a warning says of an image that did not pass."""


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake images
    bake images --json | jq -r '.images[] | select(.name == "web") | .id'""",
)
@as_json
@click.option("--check", is_flag=True, help="Also look whether each is still there, unchanged.")
@click.pass_obj
def images(project: Project, as_json: bool, check: bool) -> None:
    """Show what has been built here, the newest last."""
    kept = project.state.images()
    states = {image.id: status(image, project.drivers.get) for image in kept} if check else {}
    if as_json or project.json:
        rows = [{**_json(image), **({"status": states[image.id]} if check else {})} for image in kept]
        output.out_json({"version": 1, "images": rows}, project)
        return
    if not kept:
        output.note("nothing has been built here yet; `bake build` does", project)
        return
    versions = any(VERSION in image.data for image in kept)
    more = (("CURRENT",) if versions else ()) + (("STATUS",) if check else ())
    head = ("NAME", "BUILD", "CREATED", "SIZE", "TESTS", *more, "ID")
    output.out(output.table([_row(image, states, versions=versions) for image in kept], head), project)


def _row(image: Artifact, states: dict[str, str], *, versions: bool) -> tuple[str, ...]:
    created = f"{image.created.astimezone():%Y-%m-%d %H:%M}" if isinstance(image.created, datetime) else ""
    amount = format_size(image.size) if image.size is not None else ""
    state: tuple[str, ...] = ("yes" if is_current(image) else "",) if versions else ()
    state += (states[image.id],) if states else ()
    tests = click.style(image.verdict, fg="red") if image.verdict in VERDICTS else image.verdict
    return (click.style(image.name, bold=True), image.build, created, amount, tests, *state, near(image.id))


def _json(image: Artifact) -> dict[str, Any]:
    data = to_json(image)
    return data if isinstance(data, dict) else {}


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake rm web-bookworm
    bake rm web@laptop               of two sources that made it
    bake rm --yes ami-0123456789abcdef0""",
)
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=built)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(project: Project, /, *, names: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Delete images that were built here, with all that belongs to them.

    IMAGE is a name (the newest of it; `web@laptop` where several sources have made it), an id, or a file.
    """
    chosen = {image.id: image for image in map(project.image, names)}  # named twice, deleted once
    _remove(project, list(chosen.values()), yes=yes, dry_run=dry_run)


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake prune --keep 3             of each name and driver
    bake prune --keep 1 --dry-run""",
)
@click.option(
    "--keep", type=click.IntRange(min=0), default=1, show_default=True, metavar="N", help="How many stay, of each name."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(project: Project, keep: int, dry_run: bool, yes: bool) -> None:
    """Delete all but the newest images of each name; of one with versions, the current one stays in any case."""
    _remove(project, excess(project.state.images(), keep), yes=yes, dry_run=dry_run)


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake rollback web               the version before the current one
    bake rollback web --to 1.4.1    this one, older or newer""",
)
@click.argument("name", metavar="IMAGE", shell_complete=built)
@click.option("--to", metavar="VERSION", help="Which version.")
@click.pass_obj
def rollback(project: Project, /, *, name: str, to: str | None) -> None:
    """Make another version of an image the current one, for images with `versions=`.

    Its name means it from now on: for `bake ssh` and `bake test`, and for the file without a version. It stays so until
    a new version is made. Nothing is deleted, and nothing is changed at a provider.
    """
    before, now = roll_back(project.state, name, to, project.drivers.get)
    text = f"{now.build}: {now.name} in place of {before.name}  {near(now.id)}"
    output.record(text, {"did": "rolled back", "name": now.name, "before": before.name, "id": now.id}, project)
    if now.verdict in VERDICTS:
        call = short_name(project.state.images(), now)
        hint = f"`bake test {call}` tests it, `bake rollback {name} --to VERSION` takes another one"
        output.note(f"warning: {now.name} {SAID[now.verdict]}; {hint}", project)


def _remove(project: Project, chosen: list[Artifact], *, yes: bool, dry_run: bool) -> None:
    if not chosen:
        output.note("nothing to delete", project)
        return
    if dry_run:
        for image in chosen:
            _tell("would delete", image, project)
        return
    if not yes:
        for image in chosen:
            doubt = f"  {VERDICTS[image.verdict].upper()}" if image.verdict in VERDICTS else ""
            click.echo(f"{image.name}  {near(image.id)}{doubt}", err=True)
        if not _agreed(f"Delete {counted(len(chosen), 'image')}?"):
            output.note("nothing was deleted", project)
            return
    for image in chosen:
        remove(image, project.state, project.drivers.get)
        _tell("deleted", image, project)


def _agreed(question: str) -> bool:
    """Ask, where somebody can answer.

    Raises:
        UsageError: nobody can.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        hint = "--yes deletes without a question, --dry-run says what would go"
        raise UsageError("nobody is there to say yes", why="standard input has ended", hint=hint) from None


def _tell(what: str, image: Artifact, project: Project) -> None:
    text = f"{what} {image.name}  {near(image.id)}"
    output.record(text, {"did": what, "name": image.name, "driver": image.driver, "id": image.id}, project)
