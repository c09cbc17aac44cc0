"""What the shell offers after <Tab>. Mistakes in the imagefile offer nothing, and say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from bakery.cli.project import Project

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bakery.imagefile.recipe import Recipe


def images(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of images, with their first line of help."""
    del param
    from bakery.imagefile.marks import doc_of

    return _offer(
        ctx, incomplete, lambda r: {spec.name: doc_of(spec.function) if spec.function else "" for spec in r.images}
    )


def sources(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of sources."""
    del param
    from bakery.imagefile.marks import doc_of, name_of

    return _offer(ctx, incomplete, lambda r: {name_of(f): doc_of(f) for f in r.functions["source"]})


def variables(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of variables, with the equals sign."""
    del param
    return _offer(
        ctx,
        incomplete,
        lambda r: {f"{name}=": "" for name in vars(r.variables or object).get("__dataclass_fields__", {})},
    )


def built(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of images that were built here."""
    from click.shell_completion import CompletionItem

    del param
    try:
        names = {image.name for image in _project(ctx).state.images()}
    except Exception:  # the user is typing: an explanation would land in the middle of the line
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def runs(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Ids of runs, newest first."""
    from click.shell_completion import CompletionItem

    del param
    try:
        ids = [run.id for run in reversed(_project(ctx).state.runs())]
    except Exception:  # the user is typing: an explanation would land in the middle of the line
        return []
    return [CompletionItem(run) for run in ids if run.startswith(incomplete)]


def _offer(ctx: click.Context, incomplete: str, names: Callable[[Recipe], dict[str, str]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    try:
        found = names(_project(ctx).recipe)
    except Exception:  # the user is typing: an explanation would land in the middle of the line
        return []
    return [CompletionItem(name, help=text) for name, text in found.items() if name.startswith(incomplete)]


def _project(ctx: click.Context) -> Project:
    return ctx.find_object(Project) or Project()
