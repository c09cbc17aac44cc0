"""`bake logs`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from bakery.cli.commands.report import events_of, last_run
from bakery.cli.completion import runs
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project

if TYPE_CHECKING:
    from bakery.state.project import RunFolder

PAUSE: Final = 0.2
"""Seconds between two looks at the events of a run that is under way."""


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake logs                     the last run, with what its commands wrote
    bake logs -f                  and what comes, until it ends
    bake logs 9f3a --quiet        only warnings and failures
    bake logs -f --format json    its events, one a line""",
)
@click.argument("run", required=False, shell_complete=runs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.pass_obj
def logs(project: Project, run: str | None, follow: bool) -> None:
    """Show what a run said, with what its commands wrote; also of one that is under way elsewhere."""
    folder = project.state.run(run) if run else last_run(project)
    if project.json:
        for line in _lines(folder, follow=follow):
            click.echo(line, nl=False)
        return
    from bakery.reporting.plain import Log
    from bakery.reporting.replay import event_of

    reader = Log(sys.stdout, "quiet" if project.quiet else "verbose")
    for line in _lines(folder, follow=follow):
        if (event := event_of(line)) is not None:
            reader.read(event)


def _lines(folder: RunFolder, *, follow: bool) -> Iterator[str]:
    """Yield the events' lines, whole ones only; with `follow` until nobody works on the run any more."""
    with events_of(folder).open(encoding="utf-8", errors="replace") as file:
        begun = ""
        while True:
            alive = follow and folder.alive  # asked first: what a run writes before it ends is read afterwards
            for text in file:
                begun += text
                if begun.endswith("\n"):
                    yield begun
                    begun = ""
            if not alive:
                return
            time.sleep(PAUSE)
