"""`bake cache`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, Duration, OptionGroup, Size, as_json
from bakery.cli.project import Project
from bakery.util.units import format_size

if TYPE_CHECKING:
    from bakery.cache.checkpoints.store import CacheEntry, Store


@click.group(
    cls=OptionGroup,
    invoke_without_command=True,
    epilog="""Examples:
    bake cache
    bake cache ls --json
    bake cache prune --older-than 7d""",
)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Show or shrink the cache of bases and steps, which all projects of this user share."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(ls, as_json=False)


@cache.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake cache ls
    bake cache ls --json""",
)
@as_json
@click.pass_obj
def ls(project: Project, as_json: bool) -> None:
    """Show what is in the cache, the least recently used checkpoint first."""
    from bakery.cache.checkpoints import inventory

    store = _store(project)
    entries, folder = store.ls(), store.work.cache
    unreadable: list[str] = []
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    parts = {path.name: path.lstat().st_blocks * 512 + inventory.size([path], unreadable) for path in names}
    if unreadable:
        number = "1 folder is" if len(unreadable) == 1 else f"{len(unreadable)} folders are"
        output.note(f"{number} not counted, since another user's: {unreadable[0]}", project)
    if as_json or project.json:
        rows = [_json(entry) for entry in entries]
        output.out_json(
            {"version": 1, "folder": str(folder), "limit": store.limit, "bytes": parts, "checkpoints": rows}, project
        )
        return
    output.out(f"{folder}  {format_size(sum(parts.values()))}", project)
    output.out(output.table([(f"  {name}", format_size(amount)) for name, amount in parts.items() if amount]), project)
    if entries:
        output.out(
            "\n" + output.table([_row(entry) for entry in entries], ("CHECKPOINT", "DRIVER", "SIZE", "USED")), project
        )
        output.out(f"{format_size(store.size())} of {format_size(store.limit)} for checkpoints", project)


@cache.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake cache prune                down to the limit: BAKERY_CACHE_LIMIT, else 20 GiB
    bake cache prune --keep 0       all that is not in use
    bake cache prune --older-than 7d     bases and downloads, too""",
)
@click.option("--keep", type=Size(), metavar="SIZE", help="Bytes of checkpoints that may stay: 500M, 20G.")
@click.option(
    "--older-than", type=Duration(), metavar="TIME", help="Those not used for this long; bases and downloads as well."
)
@click.pass_obj
def prune(project: Project, keep: int | None, older_than: float | None) -> None:
    """Remove checkpoints, the least recently used first. What a run uses, and what others stand on, stays."""
    from bakery.cache import bases

    store = _store(project)
    gone = [(entry.key, entry.size) for entry in store.prune(keep, older_than)]
    if older_than is not None:
        gone += [(entry.name, entry.size) for entry in bases.prune(store, older_than)]
    for name, amount in gone:
        output.record(
            f"removed {name}  {format_size(amount)}", {"did": "removed", "name": name, "bytes": amount}, project
        )
    if store.foreign:
        number = "1 folder is" if len(store.foreign) == 1 else f"{len(store.foreign)} folders are"
        output.note(f"{number} left alone, since another user's: {store.foreign[0]}", project)
    if not gone:
        output.note("nothing to remove", project)


def _store(project: Project) -> Store:
    from bakery.cache.checkpoints.store import Store, limit
    from bakery.state.project import cache_folder
    from bakery.util.context import WorkContext

    return Store(WorkContext(cache=cache_folder(project.environ)), limit(project.environ))


def _row(entry: CacheEntry) -> tuple[str, str, str, str]:
    from bakery.reporting.formatting import ago

    used = ago(max(0.0, time.time() - entry.used))
    return entry.key, entry.driver + (", warm" if entry.warm else ""), format_size(entry.size), used


def _json(entry: CacheEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "driver": entry.driver,
        "warm": entry.warm,
        "size": entry.size,
        "made": entry.made,
        "used": entry.used,
        "stands_on": list(entry.stands_on),
    }
