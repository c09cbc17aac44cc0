"""`bake screenshot` and `bake vnc`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from bakery.cli.completion import runs
from bakery.cli.options import BakeCommand
from bakery.cli.project import Project
from bakery.errors import BakeryError, UsageError
from bakery.state.image_names import names_build
from bakery.util.files import slug

if TYPE_CHECKING:
    from collections.abc import Callable

    from bakery.drivers.base import Driver
    from bakery.model import Resource
    from bakery.state.project import RunFolder

LOOK: Final = 1.0
"""Seconds between two looks whether the machine is still there."""
_build = click.option(
    "--build", metavar="IMAGE", help="Of which build, where several have machines: `web`, or `web@laptop`."
)


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake screenshot                   of the last run's machine, into RUN-BUILD.png
    bake screenshot 9f3a -o now.png
    bake screenshot web@laptop        of that build's machine, in the last run""",
)
@click.argument("run", required=False, metavar="[RUN|IMAGE]", shell_complete=runs)
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
@click.argument("run", required=False, metavar="[RUN|IMAGE]", shell_complete=runs)
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


def _machine(project: Project, name: str | None, build: str | None) -> tuple[Driver[Any], Resource]:
    """Return the machine that is meant: the one that was started last, of the only build that has some.

    Raises:
        UsageError: there is none, or several builds have some.
    """
    folder, build = _run_and_build(project, name, build)
    machines = _running(project, folder)
    images = _images(project)
    fitting = [each for each in machines if build is None or names_build(each[1].build, build, images(each[1].build))]
    choices = list(dict.fromkeys(resource.build for _, resource in fitting or machines))
    if not fitting:
        raise UsageError(
            f"the run {folder.id} has no machine" + (f" of {build}" if build else ""),
            hint=f"there are machines of {', '.join(choices)}" if choices else "while a build is under way it has one",
        )
    if len(choices) > 1:
        raise UsageError(
            f"{len(choices)} builds of the run {folder.id} have machines",
            hint=f"name one of them: --build {', '.join(choices)}",
        )
    return fitting[-1]


def _run_and_build(project: Project, name: str | None, build: str | None) -> tuple[RunFolder, str | None]:
    """Return the run that a word names; a word that names none is a build of the last run."""
    from bakery.cli.commands.report import last_run

    if name is None or build is not None or any(name in run.id for run in project.state.runs()):
        return (project.state.run(name) if name else last_run(project)), build
    return last_run(project), name


def _running(project: Project, folder: RunFolder) -> list[tuple[Driver[Any], Resource]]:
    """Return the machines of a run that are there, the newest last."""
    from bakery.model import Where
    from bakery.state.journal import replay

    made = [entry.resource for entry in replay(folder.path / "journal.jsonl").live()]
    drivers = {resource.driver: project.drivers.get(resource.driver) for resource in made}
    there = {(name, found.key) for name, driver in drivers.items() for found in driver.find(Where(run=folder.id))}
    return [(drivers[resource.driver], resource) for resource in made if (resource.driver, resource.key) in there]


def _images(project: Project) -> Callable[[str], list[str]]:
    """Return what tells the images' names of a build, as far as the imagefile can be read."""
    try:
        plan = project.plan((), (), (), project.settings({}, ()))
    except BakeryError:  # it may be half written while the run goes on: the builds' own names do without it
        return lambda _: []
    return lambda name: [build.image for build in plan.builds if build.name == name]


def _no_screen(driver: Driver[Any]) -> UsageError:
    return UsageError(f"machines of the driver {driver.name} have no screen", hint="it is for Qemu(...)")
