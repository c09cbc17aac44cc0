"""`bake cache`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from bakery.cli import output
from bakery.cli.options import BakeCommand, Duration, OptionGroup, Size, as_json
from bakery.cli.project import Project
from bakery.util.units import format_size

if TYPE_CHECKING:
    from bakery.cache.bases import BaseEntry
    from bakery.cache.checkpoints.store import CacheEntry, Store

KEY: Final = 15
"""Characters of a checkpoint's key that are shown; --json has them all."""


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
    from bakery.cache import bases
    from bakery.cache.checkpoints import inventory

    store = _store(project)
    entries, folder = store.ls(), store.work.cache
    known, most = bases.ls(folder), bases.limit(project.environ)
    unreadable: list[str] = []
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    parts = {path.name: path.lstat().st_blocks * 512 + inventory.size([path], unreadable) for path in names}
    if unreadable:
        number = "1 folder is" if len(unreadable) == 1 else f"{len(unreadable)} folders are"
        output.note(f"{number} not counted, since another user's: {unreadable[0]}", project)
    if as_json or project.json:
        rows = [_json(entry) for entry in entries]
        shown = [{"name": base.name, "size": base.size, "used": base.used} for base in known]
        data = {"version": 1, "folder": str(folder), "limit": store.limit, "bytes": parts, "checkpoints": rows}
        output.out_json({**data, "bases_limit": most, "bases": shown}, project)
        return
    output.out(f"{folder}  {format_size(sum(parts.values()))}", project)
    output.out(output.table([(f"  {name}", format_size(amount)) for name, amount in parts.items() if amount]), project)
    if known:
        rows_of_bases = [_base_row(entry) for entry in known]
        output.out("\n" + output.table(rows_of_bases, ("BASE", "SIZE", "USED")), project)
        output.out(f"{format_size(sum(base.size for base in known))} of {format_size(most)} for bases", project)
    if entries:
        columns = ("CHECKPOINT", "PROJECT", "BUILD", "TASK", "DRIVER", "SIZE", "USED")
        output.out("\n" + output.table([_row(entry) for entry in entries], columns), project)
        output.out(f"{format_size(store.size())} of {format_size(store.limit)} for checkpoints", project)


@cache.command(
    cls=BakeCommand,
    epilog="""Examples:
    bake cache prune                down to the limits: BAKERY_CACHE_LIMIT and BAKERY_BASES_LIMIT, else 20 GiB each
    bake cache prune --keep 0 --keep-bases 0 -n     what would go if all went that is not in use
    bake cache prune --older-than 7d""",
)
@click.option("--keep", type=Size(), metavar="SIZE", help="Bytes of checkpoints that may stay: 500M, 20G.")
@click.option("--keep-bases", type=Size(), metavar="SIZE", help="The same of bases and downloads.")
@click.option(
    "--older-than", type=Duration(), metavar="TIME", help="Those not used for this long; bases and downloads as well."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would go.")
@click.pass_obj
def prune(
    project: Project, /, *, keep: int | None, keep_bases: int | None, older_than: float | None, dry_run: bool
) -> None:
    """Remove checkpoints and bases, the least recently used first. What a run uses, and what others stand on, stays."""
    from bakery.cache import bases

    store = _store(project)
    most = bases.limit(project.environ) if keep_bases is None else keep_bases
    gone = [(entry.key, entry.size) for entry in store.prune(keep, older_than, dry_run=dry_run)]
    pruned = bases.prune(store, older_than, keep_bytes=most, dry_run=dry_run)
    gone += [(entry.name, entry.size) for entry in pruned]
    did = "would remove" if dry_run else "removed"
    for name, amount in gone:
        output.record(f"{did} {name}  {format_size(amount)}", {"did": did, "name": name, "bytes": amount}, project)
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


def _row(entry: CacheEntry) -> tuple[str, ...]:
    from bakery.errors import near

    made_for = entry.made_for
    where = near(made_for["project"]) if "project" in made_for else ""
    whose = (where, made_for.get("build", ""), made_for.get("task", "") or "(booted)" if made_for else "")
    driver = entry.driver + (", warm" if entry.warm else "")
    return entry.key[:KEY], *whose, driver, format_size(entry.size), _used(entry.used)


def _base_row(entry: BaseEntry) -> tuple[str, str, str]:
    return entry.name, format_size(entry.size), _used(entry.used)


def _used(at: float) -> str:
    from bakery.reporting.formatting import ago

    return ago(max(0.0, time.time() - at))


def _json(entry: CacheEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "driver": entry.driver,
        "warm": entry.warm,
        "size": entry.size,
        "made": entry.made,
        "used": entry.used,
        "stands_on": list(entry.stands_on),
        "made_for": dict(entry.made_for),
    }
