"""`bake ssh`."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from bakery.cli.completion import built_or_runs
from bakery.cli.options import BakeCommand, variables
from bakery.cli.project import Project
from bakery.errors import ConnectError, UsageError

if TYPE_CHECKING:
    from bakery.imagefile.variables import Settings
    from bakery.state.project import RunFolder

LOST = 255  # OpenSSH's exit code when the connection, not the command, failed
SIGNALLED = 128  # what shells add to a signal's number


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake ssh web          a fresh machine of the newest image of that name; destroyed when the shell ends
    bake ssh 9f3a         a machine that --on-failure=keep left; it stays
    bake ssh web -- dpkg -l nginx                  one command; its exit code is bake's
    bake ssh web 'journalctl -b | tail' > log      a single word is a line for the machine's shell""",
)
@click.argument("name", metavar="IMAGE|RUN", shell_complete=built_or_runs)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@variables
@click.pass_obj
def ssh(project: Project, /, *, name: str, command: tuple[str, ...], values: Any, var_files: Any) -> None:
    """Open a shell on a throw-away machine of an image, or on one that was kept; or run a command there.

    Uses the machine's own key and checks its own host key; nothing of yours is read, and no agent is forwarded.
    """
    line = command[0] if len(command) == 1 else shlex.join(command)
    run = _run(project, name)
    code = _visit_image(project, name, line, project.settings(values, var_files)) if run is None else _visit(run, line)
    raise click.exceptions.Exit(code)


def _visit_image(project: Project, name: str, line: str, settings: Settings) -> int:
    """Start a machine of an image, visit it, and return the exit code: the command's, or why there was no visit."""
    from bakery.build.one_off import build_of
    from bakery.cli.reporters import is_terminal, readers, screen
    from bakery.events import Notice
    from bakery.machine.shell import open_shell

    artifact = project.image(name)
    plan = project.plan((), (), (), settings)
    build = build_of(artifact, plan)
    shown = screen(project)
    code = 0

    def look_around(scope: Any, running: Any) -> None:
        nonlocal code
        endpoint = running.driver.endpoint(running.handle)
        with shown.paused() if is_terminal(shown) else nullcontext():
            code = _ended(open_shell(endpoint, running.claim.keys, running.claim.folder, line), line)
        if code:
            scope.emit(Notice(level="warning", message=f"the command ended with exit code {code}"))

    visit = project.one_off_run(plan, settings, readers(project, shown))
    return visit.machine(build, artifact, look_around) or code  # a command that fails is no failed visit


def _run(project: Project, name: str) -> RunFolder | None:
    """Return the run that is meant; None when it is an image.

    Raises:
        UsageError: it is neither.
    """
    if project.images_named(name):
        return None
    try:
        return project.state.run(name)
    except UsageError as no_run:
        known = ", ".join(dict.fromkeys(image.name for image in project.state.images())) or "none yet"
        raise UsageError(f"{name!r} is neither an image nor a run", why=f"images: {known}\n{no_run.hint}") from no_run


def _visit(run: RunFolder, line: str) -> int:
    """Visit the machine that a run left."""
    from bakery.machine.shell import open_shell
    from bakery.state.held_machines import held_machines

    machines = held_machines(run)
    if not machines:
        raise UsageError(
            f"the run {run.id} left no machine", hint="`bake build --on-failure=keep` leaves the one of a failed task"
        )
    folder, endpoint, keys = machines[-1]
    return _ended(open_shell(endpoint, keys, folder, line), line)


def _ended(code: int, line: str) -> int:
    """Return the command's exit code, a signal's as a shell has it; how a person's shell ended is no failure."""
    if code == LOST:
        raise ConnectError("the shell's connection failed or was lost", hint="ssh has said why, above")
    if not line:
        return 0
    return code if code >= 0 else SIGNALLED - code
