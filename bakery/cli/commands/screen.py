"""`bake screenshot` and `bake vnc`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from bakery.cli.completion import runs
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project
from bakery.errors import UsageError
from bakery.util.files import slug

if TYPE_CHECKING:
    from bakery.drivers.base import Driver
    from bakery.model import Resource

LOOK: Final = 1.0
"""Seconds between two looks whether the machine is still there."""
_build = click.option("--build", metavar="BUILD", help="Of which build, where several have machines.")


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake screenshot                   of the last run's machine, into RUN-BUILD.png
    bake screenshot 9f3a -o now.png""",
)
@click.argument("run", required=False, shell_complete=runs)
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="The file to write.")
@_build
@click.pass_obj
def screenshot(project: Project, run: str | None, output: str | None, build: str | None) -> None:
    """Write what a machine that runs shows on its screen, as PNG."""
    driver, machine = _machine(project, run, build)
    name = slug(machine.build).strip("-")
    to = output or f"{machine.run}-{name}.png"
    project.check_destinations(picture=to)
    try:
        driver.screenshot(machine, project.folder / to)
    except NotImplementedError:
        raise _no_screen(driver) from None
    click.echo(to)


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake vnc                          prints vnc://127.0.0.1:PORT, until the machine ends or you interrupt it
    bake vnc 9f3a --port 5901""",
)
@click.argument("run", required=False, shell_complete=runs)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; one that is free without.")
@_build
@click.pass_obj
def vnc(project: Project, run: str | None, port: int, build: str | None) -> None:
    """Show the screen of a machine that runs to a VNC viewer of yours, on this host and for no other user."""
    from bakery.util.loopback import TABLE, forwarding
    from bakery.util.unix_sockets import reachable

    driver, machine = _machine(project, run, build)
    try:
        path = driver.screen_socket(machine)
    except NotImplementedError:
        raise _no_screen(driver) from None
    if not TABLE.exists():
        raise UsageError("this system does not say whose a connection is", hint=f"a viewer that takes a socket: {path}")
    with reachable(path) as to:
        try:
            with forwarding(to, port, lambda why: click.echo(f"refused: {why}", err=True)) as number:
                click.echo(f"vnc://127.0.0.1:{number}")
                with suppress(KeyboardInterrupt):  # which is how a viewer is done with it
                    while path.exists():
                        time.sleep(LOOK)
        except OSError as error:
            raise UsageError(
                f"--port {port}: {error.strerror}", hint="leave it out, and a free one is taken"
            ) from error


def _machine(project: Project, run: str | None, build: str | None) -> tuple[Driver[Any], Resource]:
    """Return the machine that is meant: of the builds that have one, the one that was started last."""
    from bakery.cli.commands.report import last_run
    from bakery.model import Where
    from bakery.state.journal import replay

    folder = project.state.run(run) if run else last_run(project)
    made = [entry.resource for entry in replay(folder.path / "journal.jsonl").live()]
    names = dict.fromkeys(resource.driver for resource in made)
    drivers = {name: project.drivers.get(name) for name in names}
    there = {(name, found.key) for name, driver in drivers.items() for found in driver.find(Where(run=folder.id))}
    machines = [resource for resource in made if (resource.driver, resource.key) in there]
    fitting = [resource for resource in machines if build in (None, resource.build)]
    if not fitting:
        others = ", ".join(dict.fromkeys(resource.build for resource in machines))
        raise UsageError(
            f"the run {folder.id} has no machine" + (f" of {build}" if build else ""),
            hint=f"there are machines of {others}" if others else "while a build is under way it has one",
        )
    return drivers[fitting[-1].driver], fitting[-1]


def _no_screen(driver: Driver[Any]) -> UsageError:
    return UsageError(f"machines of the driver {driver.name} have no screen", hint="it is for Qemu(...)")
