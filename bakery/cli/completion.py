"""What the shell offers after <Tab>. Mistakes in the imagefile offer nothing, and say nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from bakery.cli.project import Project
from bakery.errors import BakeryError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bakery.imagefile.recipe import Recipe


def images(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of image functions with their first line of help, and the names that they return."""
    del param
    from bakery.imagefile.marks import doc_of

    def names(recipe: Recipe) -> dict[str, str]:
        functions = {spec.name: doc_of(spec.function) if spec.function else "" for spec in recipe.images}
        with suppress(BakeryError):  # a variable without a value: then nobody knows what they return
            project = _project(ctx)
            returned = {build.image: "" for build in project.plan((), (), (), project.settings({}, ())).builds}
            return {**returned, **functions}
        return functions

    return _offer(ctx, incomplete, names)


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
    """Names of images that were built here, with the source where a name alone means several."""
    from click.shell_completion import CompletionItem

    from bakery.state.image_names import short_name

    del param
    try:
        images = _project(ctx).state.images()
        names = {name for image in images for name in (image.name, short_name(images, image))}
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


def built_or_runs(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of images that were built here, and ids of runs."""
    return [*built(ctx, param, incomplete), *runs(ctx, param, incomplete)]


def tasks(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of tasks."""
    del param
    from bakery.imagefile.marks import doc_of, name_of

    return _offer(ctx, incomplete, lambda r: {name_of(f): doc_of(f) for f in r.functions["task"]})


def drivers(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of drivers that are installed."""
    from click.shell_completion import CompletionItem

    del param
    return [CompletionItem(name) for name in _project(ctx).drivers.names() if name.startswith(incomplete)]


def phases(ctx: click.Context, param: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    """Names of phases, with the equals sign."""
    from click.shell_completion import CompletionItem

    from bakery.build.phase_timeouts import PHASES

    del ctx, param
    return [CompletionItem(f"{name}=") for name in PHASES if name.startswith(incomplete)]


def _offer(ctx: click.Context, incomplete: str, names: Callable[[Recipe], dict[str, str]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    try:
        candidates = names(_project(ctx).recipe)
    except Exception:  # the user is typing: an explanation would land in the middle of the line
        return []
    return [CompletionItem(name, help=text) for name, text in candidates.items() if name.startswith(incomplete)]


def _project(ctx: click.Context) -> Project:
    return ctx.find_object(Project) or Project()
