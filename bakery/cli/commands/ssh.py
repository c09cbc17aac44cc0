"""`bake ssh`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bakery.cli.completion import built
from bakery.cli.options import BakeCommand, variables
from bakery.cli.project import Project
from bakery.errors import ConnectError, UsageError

if TYPE_CHECKING:
    from bakery.state.project import RunFolder

LOST = 255  # OpenSSH's exit code when the connection, not the command, failed


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake ssh web          a fresh machine of the newest image of that name; destroyed when the shell ends
    bake ssh 9f3a         a machine that --on-failure=keep left; it stays""",
)
@click.argument("name", metavar="IMAGE|RUN", shell_complete=built)
@variables
@click.pass_obj
def ssh(project: Project, /, *, name: str, values: Any, var_files: Any) -> None:
    """Open a shell on a throw-away machine of an image, or on one that was kept.

    Uses the machine's own key and checks its own host key; nothing of yours is read, and no agent is forwarded.
    """
    run = _run(project, name)
    if run is not None:
        raise click.exceptions.Exit(_kept(run))
    from bakery.build.one_off import OneOffRun, build_of
    from bakery.cli.reporters import readers, screen
    from bakery.machine.shell import open_shell
    from bakery.reporting.terminal import Terminal

    artifact = project.state.image(name)
    settings = project.settings(values, var_files)
    build = build_of(artifact, project.plan((), (), (), settings))
    shown = screen(project)

    def look_around(_scope: Any, running: Any) -> None:
        endpoint = running.driver.endpoint(running.handle)
        if isinstance(shown, Terminal):
            with shown.paused():
                _checked(open_shell(endpoint, running.claim.keys, running.claim.folder))
        else:
            _checked(open_shell(endpoint, running.claim.keys, running.claim.folder))

    visit = OneOffRun(
        recipe=project.recipe,
        settings=settings,
        state=project.state,
        drivers=project.drivers,
        redactor=project.redactor,
        readers=readers(project, shown),
    )
    raise click.exceptions.Exit(visit.machine(build, artifact, look_around))


def _run(project: Project, name: str) -> RunFolder | None:
    """The run that is meant; None when it is an image."""
    try:
        project.state.image(name)
    except UsageError as no_image:
        try:
            return project.state.run(name)
        except UsageError as no_run:
            raise UsageError(
                f"{name!r} is neither an image nor a run", why=f"{no_image.hint}\n{no_run.hint}"
            ) from no_run
    return None


def _kept(run: RunFolder) -> int:
    from bakery.machine.shell import open_shell
    from bakery.state.held_machines import held_machines

    machines = held_machines(run)
    if not machines:
        raise UsageError(
            f"the run {run.id} left no machine", hint="`bake build --on-failure=keep` leaves the one of a failed task"
        )
    folder, endpoint, keys = machines[-1]
    return _checked(open_shell(endpoint, keys, folder))


def _checked(code: int) -> int:
    if code == LOST:
        raise ConnectError("the shell's connection failed or was lost", hint="ssh has said why, above")
    return 0
