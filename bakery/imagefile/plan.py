"""From a recipe and the user's settings to a plan: frozen data that says all that a run will do.

The JSON form is stable: `{"version": 1, "builds": [...], "warnings": [...]}`; see docs/plan.md.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from bakery.errors import BakeryError, ImagefileError, UsageError
from bakery.imagefile.base_images import refuse_further_disks, stands_on
from bakery.imagefile.builds import Build, ImageRef, Plan, Step
from bakery.imagefile.callables import refuse_unfinished
from bakery.imagefile.labels import counts
from bakery.imagefile.marks import Function, doc_of, location_of, mark_of, name_of
from bakery.imagefile.node_images import nodes_of
from bakery.imagefile.recipe import ImageSpec, Recipe
from bakery.imagefile.signatures import takes_variables
from bakery.imagefile.user_code import call_user_code, repr_of, user_line
from bakery.imagefile.variables import Cell, Settings, own_copy, resolve
from bakery.model import Problem, Source, to_json
from bakery.util.suggestions import did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to build: globs over image names, each with `@SOURCE` or without, and over source names."""

    images: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Draft:
    build: Build
    variables: Any


def plan(recipe: Recipe, settings: Settings, select: Selection | None = None) -> Plan:
    """Resolve, multiply, select and order.

    Raises:
        ImagefileError: a wrong name, value or source; two images of one name; images that stand on each other.
        UsageError: a selection that matches nothing.
    """
    drafts = [draft for spec in recipe.images for draft in _drafts(recipe, spec, settings)]
    _refuse_twins([draft.build for draft in drafts], recipe)
    linked = {build.name: build for build in _link(drafts, recipe)}
    for build in linked.values():
        refuse_further_disks(build, linked, recipe)
    chosen = _chosen(list(linked.values()), select or Selection())
    ordered = _ordered(chosen, linked, recipe)
    variables = {draft.build.name: draft.variables for draft in drafts}
    return Plan(builds=tuple(ordered), warnings=tuple(_warnings(recipe, settings)), variables=variables)


def call(
    kind: str,
    function: Function,
    subjects: Sequence[Any],
    variables: Any,
    check: Callable[[], None] = lambda: None,
) -> Any:
    """Call a user's function: subject first, the variables second if it has an argument for them.

    Args:
        kind: the decorator.
        function: what it marked.
        subjects: the machine, the artifact, or nothing.
        variables: the variables' object.
        check: raises when the run is cancelled.

    Raises:
        ImagefileError: it returned something that shows that its work was not done.
        Exception: whatever it raised; never a `SystemExit` or the like.
    """
    given = (*subjects, variables) if takes_variables(kind, function) else tuple(subjects)
    result = call_user_code(lambda: function(*given), check=check)
    if not isinstance(result, Source):
        refuse_unfinished(kind, name_of(function), result, location_of(function))
    return result


def _drafts(recipe: Recipe, spec: ImageSpec, settings: Settings) -> list[_Draft]:
    drafts: list[_Draft] = []
    for resolved in resolve(recipe.variables, spec.matrix, settings, recipe.folder):
        cell = replace(resolved, variables=own_copy(resolved.variables))  # for functions that may change a list in it
        label = ",".join(f"{name}={value}" for name, value in cell.axes.items())
        image = _image_name(spec, cell)
        for function in spec.sources:
            boot, because = _source(function, cell)
            _refuse_login(spec, boot)
            name = f"{spec.name}[{label}]@{name_of(function)}" if label else f"{spec.name}@{name_of(function)}"
            publishes = boot.publishes
            build = Build(
                name=name,
                spec=spec.name,
                image=image,
                source=name_of(function),
                driver=boot.driver,
                boot=boot,
                axes=dict(cell.axes),
                variables=cell.values,
                where=str(spec.where),
                steps=() if publishes else _steps(spec.tasks, function),
                tests=_steps(spec.tests, function),
                post=_steps(spec.post, function),
                suites=spec.suites,
                publishes=publishes,
                labels=_labels(function),
                because=because,
            )
            drafts.append(_Draft(build=build, variables=resolved.variables))
    publications = {draft.build.source for draft in drafts if draft.build.publishes}
    _refuse_tasks(spec, [function for function in spec.sources if name_of(function) in publications])
    return drafts


def _refuse_tasks(spec: ImageSpec, publications: Sequence[Function]) -> None:
    """Refuse a task that could never run: none does where an image is published."""
    for task in spec.tasks:
        mark = mark_of(task)
        only = mark.options.get("only", ()) if mark else ()
        if only and all(_holds(publications, function) for function in only):
            names = ", ".join(name_of(function) for function in only)
            raise ImagefileError(
                f"task {name_of(task)} is only for {names}, where an image is published and no task runs",
                where=location_of(task),
                hint="name the source that builds the image",
            )


def _refuse_login(spec: ImageSpec, boot: Source) -> None:
    """Refuse a login for tests where the source says who logs in, before anything is made."""
    if spec.options.get("login") is not None and not boot.takes_login:
        raise ImagefileError(
            f"@bakery.image(login=...) of {spec.name} is not for {type(boot).__name__}",
            why="it is for images that are tested under QEMU: Qemu(...), Nspawn(...)",
            hint=f"{type(boot).__name__}(user=...) says who logs in, to build and to test",
            where=spec.where,
        )


def _image_name(spec: ImageSpec, cell: Cell) -> str:
    if spec.function is None:
        return spec.name
    name = _user("image", spec.function, cell) or spec.name
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ImagefileError(
            f"image {spec.name} returns {repr_of(name)} as its name",
            where=spec.where,
            hint="a name has letters, digits, dots, dashes and underscores, at most 128",
        )
    return name


def _source(function: Function, cell: Cell) -> tuple[Source, str]:
    """Return what is built on, and why, where a source leaves to the host which driver builds."""
    boot = _user("source", function, cell)
    if not isinstance(boot, Source):
        raise ImagefileError(
            f"source {name_of(function)} returns {type(boot).__name__}, not a source",
            where=location_of(function),
            hint="return Qemu(...), Nspawn(...), Ec2(...), OpenStack(...) or another driver's source",
        )
    for problem in _mistakes(boot):
        raise ImagefileError(
            f"source {name_of(function)}: {problem.what}",
            why=problem.why,
            hint=problem.hint,
            where=location_of(function),
        )
    _refuse_odd_values(boot, function)
    choose: Callable[[], tuple[Source, str]] | None = getattr(boot, "choose", None)
    return choose() if choose else (boot, "")


def _refuse_odd_values(boot: Source, function: Function) -> None:
    """Refuse what could not be written down: into the journal, the plan, the key of a step."""
    written = (field.name for field in fields(boot) if field.metadata.get("json", True) and field.name != "base")
    for name in written:
        try:
            to_json(getattr(boot, name))
        except (TypeError, RecursionError) as error:
            raise ImagefileError(
                f"source {name_of(function)}: {name}= cannot be written down",
                why=str(error),
                hint="use text, numbers, paths, and lists and mappings of them",
                where=location_of(function),
            ) from None


def _mistakes(boot: Source) -> Iterator[Problem]:
    """Yield what a source and its base see to be wrong in themselves, without a look at this host or at a provider."""
    for described in (boot, boot.base):
        look: Callable[[], Iterator[Problem]] | None = getattr(described, "mistakes", None)
        if look is not None and not isinstance(described, type):
            yield from look()


def _labels(function: Function) -> Mapping[str, int]:
    mark = mark_of(function)
    try:
        return counts(mark.options.get("labels", ()) if mark else ())
    except (TypeError, ValueError) as error:
        raise ImagefileError(
            f"labels= of {name_of(function)}: {error}", where=location_of(function), hint='as in labels=["licence:1"]'
        ) from error


def _user(kind: str, function: Function, cell: Cell) -> Any:
    """Call a function that only describes, and say where it fails."""
    try:
        return call(kind, function, (), cell.variables)
    except ImagefileError as error:
        error.where = error.where or user_line(error) or location_of(function)
        raise
    except BakeryError as error:
        where = error.where or user_line(error) or location_of(function)
        raise ImagefileError(error.what, why=error.why, hint=error.hint, where=where) from error
    except Exception as error:
        from bakery.imagefile.loader import explained_call

        raise explained_call(kind, function, error) from error


def is_image(recipe: Recipe, name: str) -> bool:
    """Say whether a word is the name of an image's function."""
    return any(spec.name == name for spec in recipe.images)


def _steps(functions: Sequence[Function], source: Function) -> tuple[Step, ...]:
    steps: list[Step] = []
    for index, function in enumerate(functions):
        mark = mark_of(function)
        options = dict(mark.options) if mark else {}
        only, skip = options.pop("only", None) or (), options.pop("skip", None) or ()
        _check_scope(function, only, "only")
        _check_scope(function, skip, "skip")
        if (only and not _holds(only, source)) or _holds(skip, source):
            continue
        where, doc = str(location_of(function)), doc_of(function)
        steps.append(Step(name=name_of(function), index=index, where=where, doc=doc, options=options))
    return tuple(steps)


def _holds(functions: Any, function: Function) -> bool:
    """By identity: what a user's object says of equality is no matter here."""
    return any(function is other for other in functions)


def _check_scope(function: Function, sources: Any, key: str) -> None:
    for item in sources:
        mark = mark_of(item)
        if mark is None or mark.kind != "source":
            name = name_of(item) if callable(item) else repr_of(item)
            raise ImagefileError(
                f"{key}= of {name_of(function)} holds {name}, which is no source",
                where=location_of(function),
                hint=f"{key}=[...] takes functions marked with @bakery.source, without quotes",
            )


def _refuse_twins(builds: Sequence[Build], recipe: Recipe) -> None:
    seen: dict[tuple[str, str], Build] = {}
    for build in builds:
        twin = seen.setdefault((build.image, build.source), build)
        if twin is not build:
            raise ImagefileError(
                f"two images of one name: {twin.name} and {build.name} are both {build.image!r}",
                hint="put the axis into the name that the image function returns: f'web-{v.release}'",
                where=recipe.image(build.spec).where,
            )


def _link(drafts: Sequence[_Draft], recipe: Recipe) -> list[Build]:
    """Replace a base that is made by another build by a reference to that build."""
    builds = [draft.build for draft in drafts]
    parents = [stands_on(build, builds, recipe) for build in builds]
    builds = [replace(build, nodes=nodes_of(build, builds, recipe)) for build in builds]
    return [
        replace(build, boot=build.boot.on(ImageRef(build=parent.name)), after=(parent.name,)) if parent else build
        for build, parent in zip(builds, parents, strict=True)
    ]


def _chosen(builds: Sequence[Build], select: Selection) -> list[Build]:
    for pattern in select.images:
        if not any(_names(build, pattern) for build in builds):
            known = sorted({build.spec for build in builds} | {build.image for build in builds})
            raise UsageError(f"no image matches {pattern!r}", hint=did_you_mean(pattern, known, otherwise="there are"))
    sources = sorted({build.source for build in builds})
    for pattern in (*select.only, *select.exclude):
        if not fnmatch.filter(sources, pattern):
            raise UsageError(
                f"no source matches {pattern!r}", hint=did_you_mean(pattern, sources, otherwise="there are")
            )
    chosen = [
        build
        for build in builds
        if (not select.images or any(_names(build, pattern) for pattern in select.images))
        and (not select.only or any(fnmatch.fnmatchcase(build.source, pattern) for pattern in select.only))
        and not any(fnmatch.fnmatchcase(build.source, pattern) for pattern in select.exclude)
    ]
    if not chosen:
        raise UsageError("the selection leaves nothing to build", hint="`bake list` shows images and their sources")
    return chosen


def _names(build: Build, pattern: str) -> bool:
    names = (build.spec, build.image, build.name, f"{build.spec}@{build.source}", f"{build.image}@{build.source}")
    exact = pattern in names  # a name may hold brackets, which a glob would read
    return exact or any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _ordered(chosen: Sequence[Build], linked: Mapping[str, Build], recipe: Recipe) -> list[Build]:
    """Depth first, so that what others stand on comes first; everything needed is pulled in."""
    ordered: dict[str, Build] = {}

    def visit(build: Build, path: tuple[str, ...]) -> None:
        if build.name in path:
            raise _ring((*path[path.index(build.name) :], build.name), linked, recipe)
        for name in build.needed:
            visit(linked[name], (*path, build.name))
        ordered.setdefault(build.name, build)

    for build in chosen:
        visit(build, ())
    return list(ordered.values())


def _ring(names: Sequence[str], linked: Mapping[str, Build], recipe: Recipe) -> ImagefileError:
    """Say which images need each other; mostly one that is built from all sources, its own child's among them."""
    build, ring = linked[names[-1]], " -> ".join(names)
    spec = recipe.image(build.spec)
    if any(name not in linked[before].after for before, name in pairwise(names)):
        why = "an image needs those that it stands on, and those that its tests want beside it"
        return ImagefileError(f"images need each other in a ring: {ring}", why=why, where=spec.where)
    others = [name_of(source) for source in spec.sources if name_of(source) != build.source]
    return ImagefileError(
        f"images stand on each other in a ring: {ring}",
        why=f"{spec.name} has the sources {', '.join(map(name_of, spec.sources))}; without sources= an image has all",
        hint=f"name those that it begins with: @bakery.image(sources=[{', '.join(others) or '...'}])",
        where=spec.where,
    )


def _warnings(recipe: Recipe, settings: Settings) -> list[str]:
    known = {name.upper() for name in getattr(recipe.variables, "__dataclass_fields__", {})}
    unknown = (
        f"the environment has {name}, but the imagefile has no such variable"
        for name in sorted(settings.environ)
        if name.startswith("BAKE_VAR_") and name.removeprefix("BAKE_VAR_").upper() not in known
    )
    idle = (
        f"{file.relative_to(recipe.folder)} marks {', '.join(names)}, and the image has none of them: "
        f"import them by name (from {file.stem} import ...), or list them in an @bakery.image"
        for file, names in sorted(recipe.idle.items())
    )
    unmarked = (f"{name} looks like a test and is none: put @bakery.test above it" for name in recipe.unmarked)
    return [*unknown, *idle, *unmarked]
