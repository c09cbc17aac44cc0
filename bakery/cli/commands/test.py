"""`bake test`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bakery.cli.completion import built
from bakery.cli.options import FILE, BakeCommand, Duration, variables
from bakery.cli.project import Project
from bakery.errors import ImagefileError, UsageError

if TYPE_CHECKING:
    from bakery.build.smoke_tests import SuiteChoice
    from bakery.model import Artifact

FORMATS = {".qcow2": "qcow2", ".raw": "raw", ".img": "raw"}


TALKS = ("--pdb", "--trace")
"""Arguments of pytest with which it asks the user."""
UNCAPTURED = ("-s", "--capture=no")


class TestCommand(BakeCommand):
    """The command, with pytest's own arguments after `--`."""

    __test__ = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set aside what is pytest's."""
        own = args[: args.index("--")] if "--" in args else args
        ctx.meta[ARGUMENTS] = tuple(args[len(own) + 1 :])
        return super().parse_args(ctx, own)


ARGUMENTS = "bakery.pytest"


@click.command(
    cls=TestCommand,
    epilog="""Examples:
    bake test web                              the newest image of that name
    bake test web tests/ -- -k nginx -x        pytest suites on it, with pytest's own arguments
    bake test ./web.qcow2 --image web          any disk file, with that image's tests
    bake test --image web --host ssh://root@10.0.0.7 --identity ~/.ssh/id_ed25519""",
)
@click.argument("artifact", required=False, metavar="[IMAGE|ARTIFACT]", shell_complete=built)
@click.argument("paths", nargs=-1, metavar="[PATH]... [-- PYTEST-ARGUMENT...]", type=click.UNPROCESSED)
@click.option("--image", metavar="IMAGE", help="Whose tests to run, where it cannot be told from the artifact.")
@click.option("--host", metavar="ssh://USER@HOST[:PORT]", help="Test a machine that runs already; nothing is launched.")
@click.option(
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --host: the private key.",
)
@click.option(
    "--known-hosts",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("~/.ssh/known_hosts"),
    show_default=True,
    metavar="FILE",
    help="With --host: where its host key is.",
)
@click.option(
    "--testinfra-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="What in testinfra_hosts of a suite means this machine; a name or a glob.",
)
@click.option(
    "--other-hosts",
    type=click.Choice(["refuse", "run", "skip"]),
    help="What becomes of a suite's tests for other hosts.",
)
@click.option(
    "--clones", type=click.IntRange(1, 8), default=1, metavar="N", help="Machines at once, for tests that use clones."
)
@click.option("--suite-user", type=click.Choice(["root", "login"]), help="Who commands of suites run as.")
@variables
@click.option("--deadline", type=Duration(), metavar="TIME", help="Stop and clean up after this time: 90s, 30m, 2h.")
@click.option("--junit", type=FILE, metavar="FILE", help="Write a JUnit report here.")
@click.pass_obj
def test(
    project: Project,
    /,
    *,
    artifact: str | None,
    paths: tuple[str, ...],
    image: str | None,
    host: str | None,
    values: Any,
    var_files: Any,
    **given: Any,
) -> None:
    """Run the smoke tests against an image that exists, on a fresh machine of it; or against a host.

    PATHs are pytest suites (folders, files, node ids) that run in place of those that the imagefile names.
    """
    from bakery.build.one_off import build_of
    from bakery.cli.reporters import exit_code, readers, screen

    if host is not None and artifact is not None and (project.folder / artifact.partition("::")[0]).exists():
        paths, artifact = (artifact, *paths), None
    if (artifact is None) == (host is None):
        raise UsageError("name an image, or a machine with --host", hint="see `bake test --help`")
    if host is not None and given["clones"] > 1:
        raise UsageError("--clones with --host", hint="the machines of an image are made here: name the image")
    project.check_destinations(junit=given["junit"])
    settings = project.settings(values, var_files)
    plan = project.plan((), (), (), settings)
    shown = screen(project)
    choice = _choice(project, paths, given, shown)
    reporters = readers(project, shown, project.path(given["junit"]))
    visit = project.one_off_run(plan, settings, reporters, deadline=given["deadline"])
    if host is not None:
        from bakery.build.remote_host import RemoteHost

        target = RemoteHost.of(host, identity=given["identity"], known_hosts=given["known_hosts"].expanduser())
        raise click.exceptions.Exit(exit_code(target.test(visit, image, choice), reporters))
    from bakery.build.retest import retest

    chosen = _artifact(project, artifact or "")
    build = build_of(chosen, plan, image)
    action = partial(retest, job=visit.jobs[build.name], artifact=chosen, choice=choice)
    code = visit.go(build, chosen.driver, action, needs_secrets=True)
    raise click.exceptions.Exit(exit_code(code, reporters))


def _choice(project: Project, paths: tuple[str, ...], given: dict[str, Any], shown: Any) -> SuiteChoice:
    """Return what is asked of suites.

    Raises:
        UsageError: a path is not there, or pytest is to ask where nobody could answer.
    """
    from bakery.build.smoke_tests import SuiteChoice

    arguments: tuple[str, ...] = click.get_current_context().meta[ARGUMENTS]
    terminal = getattr(shown, "paused", None) if sys.stdin.isatty() else None
    if terminal is None and any(argument.startswith(TALKS) for argument in arguments):
        raise UsageError(f"{' '.join(arguments)} asks you, and this is no terminal", hint="leave --pdb and --trace out")
    talks = any(argument.startswith(TALKS) or argument in UNCAPTURED for argument in arguments)
    return SuiteChoice(
        paths=tuple(_suite(project, path) for path in paths),
        arguments=arguments,
        hosts=given["hosts"],
        other_hosts=given["other_hosts"],
        user=given["suite_user"],
        clones=given["clones"],
        terminal=terminal if talks else None,
    )


def _suite(project: Project, name: str) -> str:
    """Return a suite of the command line as pytest takes it in the imagefile's folder."""
    from bakery.imagefile.suites import check

    path, colons, node = name.partition("::")
    folder = project.imagefile.parent
    suite = os.path.relpath(project.folder / path, folder) + colons + node
    try:
        check(suite, folder, "the command line")
    except ImagefileError as error:
        raise UsageError(error.what, why=error.why, hint=error.hint) from error
    return suite


def _artifact(project: Project, name: str) -> Artifact:
    """Return a kept image, by its name or its file; else any disk file."""
    from bakery.model import Artifact

    path = project.folder / name
    ours = {image.id for image in project.state.images()}
    if path.suffix in FORMATS and path.is_file() and str(path.resolve()) not in ours:
        return Artifact(driver="qemu", id=str(path.resolve()), name=path.stem, format=FORMATS[path.suffix])
    return project.image(name)
