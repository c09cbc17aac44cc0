"""`bake test`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bakery.cli.completion import built
from bakery.cli.options import FILE, BakeCommand, Duration, variables
from bakery.cli.project import Project
from bakery.errors import UsageError

if TYPE_CHECKING:
    from bakery.model import Artifact

FORMATS = {".qcow2": "qcow2", ".raw": "raw", ".img": "raw"}


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake test web                              the newest image of that name
    bake test ./web.qcow2 --image web          any disk file, with that image's tests
    bake test --image web --host ssh://root@10.0.0.7 --identity ~/.ssh/id_ed25519""",
)
@click.argument("artifact", required=False, metavar="[IMAGE|ARTIFACT]", shell_complete=built)
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
@variables
@click.option("--deadline", type=Duration(), metavar="TIME", help="Stop and clean up after this time: 90s, 30m, 2h.")
@click.option("--junit", type=FILE, metavar="FILE", help="Write a JUnit report here.")
@click.pass_obj
def test(
    project: Project,
    /,
    *,
    artifact: str | None,
    image: str | None,
    host: str | None,
    values: Any,
    var_files: Any,
    **given: Any,
) -> None:
    """Run the smoke tests against an image that exists, on a fresh machine of it; or against a host."""
    from bakery.build.one_off import build_of
    from bakery.cli.reporters import exit_code, readers, screen

    if (artifact is None) == (host is None):
        raise UsageError("name an image, or a machine with --host", hint="see `bake test --help`")
    project.check_destinations(junit=given["junit"])
    settings = project.settings(values, var_files)
    plan = project.plan((), (), (), settings)
    reporters = readers(project, screen(project), project.path(given["junit"]))
    visit = project.one_off_run(plan, settings, reporters, deadline=given["deadline"])
    if host is not None:
        from bakery.build.remote_host import RemoteHost

        target = RemoteHost.of(host, identity=given["identity"], known_hosts=given["known_hosts"].expanduser())
        raise click.exceptions.Exit(exit_code(target.test(visit, image), reporters))
    from bakery.build.retest import retest

    chosen = _artifact(project, artifact or "")
    action = partial(retest, artifact=chosen)
    code = visit.machine(build_of(chosen, plan, image), chosen, action, needs_secrets=True)
    raise click.exceptions.Exit(exit_code(code, reporters))


def _artifact(project: Project, name: str) -> Artifact:
    """Return a kept image, by its name or its file; else any disk file."""
    from bakery.model import Artifact

    path = project.folder / name
    if path.suffix in FORMATS and path.is_file():
        known = [image for image in project.state.images() if image.id == str(path.resolve())]
        if known:
            return known[-1]
        return Artifact(driver="qemu", id=str(path.resolve()), name=path.stem, format=FORMATS[path.suffix])
    return project.state.image(name)
