"""`bake gc`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from bakery.cache import bases
from bakery.cli import output
from bakery.cli.completion import drivers, runs
from bakery.cli.options import BakeCommand, Duration, as_json, cluster_options
from bakery.cli.project import Project
from bakery.errors import CleanupError, UsageError
from bakery.model import Resource, Where, to_json
from bakery.state import gc as collector
from bakery.state.project import cache_folder


@click.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake gc                               what dead runs of this project left, by their journals
    bake gc 20261122-143005-9f3a          this run, also when it was kept on purpose
    bake gc --driver ec2 --older-than 6h  by tags, when the journal is gone
    bake gc --driver ec2 --set region=eu-central-1 --dry-run
    bake gc --on tls://scheduler:8786     also on the workers of a cluster""",
)
@click.argument("run", required=False, shell_complete=runs)
@click.option(
    "--driver",
    metavar="D",
    shell_complete=drivers,
    help="Look at this provider for what carries our tags, without a journal.",
)
@click.option(
    "--older-than", type=Duration(), metavar="TIME", help="With --driver: only of runs that began this long ago."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --driver: where to look (region, profile, cloud).",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@cluster_options
@as_json
@click.pass_obj
def gc(
    project: Project,
    /,
    *,
    run: str | None,
    driver: str | None,
    older_than: float | None,
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **cluster: Any,
) -> None:
    """Destroy what dead runs left behind. Runs that are alive are never touched."""
    if driver is None and (older_than is not None or settings):
        raise UsageError("--older-than and --set need --driver", hint="without it, gc goes by the journals alone")
    project.drivers.check([] if driver is None else [driver])
    where = Where(run=run, older_than=older_than, settings=_settings(settings))
    provider = None if driver is None else project.drivers.get(driver)
    stuck = list(_stuck_mounts())
    if provider is None:
        swept = collector.collect(
            project.state, project.drivers.get, run=run, dry_run=dry_run, notify=lambda text: output.note(text, project)
        )
    else:
        alive = {folder.id for folder in project.state.runs() if folder.alive}
        gone, left = collector.sweep(provider, where, alive.__contains__, dry_run=dry_run)
        swept = collector.Swept(destroyed=gone, left=left)
    swept.left += stuck
    if driver is None and cluster["on"]:
        _sweep_workers(project, cluster, run or "", swept, dry_run=dry_run)
    swept.unfinished += bases.sweep(cache_folder(project.environ), dry_run=dry_run) if driver is run is None else []
    _tell(project, swept, dry_run=dry_run, as_json=as_json or project.json)
    raise click.exceptions.Exit(swept.exit_code)


def _sweep_workers(project: Project, given: dict[str, Any], run: str, swept: collector.Swept, *, dry_run: bool) -> None:
    """Do the same on a cluster's workers, and take what came of it to the rest."""
    from bakery.build.cluster.sweeping import sweep_workers

    chosen = project.cluster(given)
    assert chosen is not None  # noqa: S101  the caller has looked
    try:
        there = sweep_workers(chosen.connection, run, dry_run=dry_run, notify=lambda text: output.note(text, project))
    finally:
        chosen.connection.close()
    known = {(resource.driver, resource.kind, resource.key) for resource in swept.destroyed}
    swept.destroyed += [one for one in there.destroyed if (one.driver, one.kind, one.key) not in known]
    swept.left += there.left
    swept.alive += [name for name in there.alive if name not in swept.alive]


def _stuck_mounts() -> Iterator[CleanupError]:
    """Yield what only somebody can lift who knows what else runs on this host."""
    from bakery.util.stuck_mounts import look

    if stuck := look():
        yield CleanupError(stuck.what, why=stuck.why, hint=stuck.hint)


def _settings(pairs: tuple[str, ...]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} is not NAME=VALUE")
        settings[name] = value
    return settings


def _tell(project: Project, swept: collector.Swept, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.out_json(_json(swept, dry_run=dry_run), project)
    else:
        for resource in swept.destroyed:
            output.out(f"{'would destroy' if dry_run else 'destroyed'} {_of_run(resource)}", project)
        for name in swept.unfinished:
            output.out(
                f"{'would remove' if dry_run else 'removed'} {name} of the cache, which was never finished", project
            )
        for run in swept.alive:
            output.note(f"{run} is alive: left alone", project)
        for run in swept.held:
            output.note(f"{run} was kept on purpose: `bake gc {run}` destroys it", project)
        if swept.unreadable:
            output.note(others(swept.unreadable, "sudo bake gc"), project)
        if not (swept.destroyed or swept.unfinished or swept.exit_code or swept.unreadable):
            output.note("nothing was left behind", project)
    for error in swept.left:
        output.error(error, project)
    for run, lines in swept.damaged.items():
        numbers = ", ".join(map(str, lines))
        output.error(
            CleanupError(
                f"the journal of {run} is damaged",
                why=f"lines that cannot be read: {numbers}",
                hint="look for its resources by tag: bake gc --driver D " + run,
            ),
            project,
        )


def others(runs: Sequence[str], command: str) -> str:
    """Say that runs were skipped because they are another user's.

    Args:
        runs: their ids.
        command: what looks at them.
    """
    known = ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")  # noqa: PLR2004  enough to recognise them by
    number = "1 run belongs" if len(runs) == 1 else f"{len(runs)} runs belong"
    return f"{number} to another user and cannot be read, left out: {known} (`{command}` reads them)"


def _of_run(resource: Resource) -> str:
    return f"{resource} of {resource.run}" if resource.run else str(resource)


def _json(swept: collector.Swept, *, dry_run: bool) -> dict[str, Any]:
    return {
        "version": 1,
        "dry_run": dry_run,
        "destroyed": [to_json(resource) for resource in swept.destroyed],
        "left": [{"what": error.what, "why": error.why, "hint": error.hint} for error in swept.left],
        "unfinished": swept.unfinished,
        "alive": swept.alive,
        "held": swept.held,
        "unreadable": swept.unreadable,
        "damaged": swept.damaged,
    }
