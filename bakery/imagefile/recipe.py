"""What an imagefile says, before any variable has a value."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from bakery.errors import ImagefileError, Location
from bakery.imagefile import name_checks, unused, variable_class
from bakery.imagefile.marks import Function, Kind, NewMark, give_alias, location_of, mark_of, name_of, own_name
from bakery.imagefile.signatures import SUBJECTS, check_signature, takes_variables
from bakery.imagefile.suites import is_suite, suites_of
from bakery.imagefile.user_code import repr_of
from bakery.util.suggestions import did_you_mean, nearest


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """One `@bakery.image`, or the implicit image of a file that has none.

    Args:
        name: the function's name, or the folder's.
        function: the function that names the image; None for the implicit one.
        where: where it stands.
        sources, tasks, tests, post: its functions, in order.
        suites: pytest suites among its tests: folders, files and node ids, relative to the imagefile's folder.
        matrix: axis name to values.
        options: the decorator's other options.
    """

    name: str
    function: Function | None
    where: Location
    sources: tuple[Function, ...]
    tasks: tuple[Function, ...]
    tests: tuple[Function, ...]
    post: tuple[Function, ...]
    suites: tuple[str, ...] = ()
    matrix: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An imagefile, loaded and checked: functions and classes, nothing computed.

    Args:
        file, module: the imagefile.
        images: its images.
        variables: its class of variables.
        functions: what the module holds, by kind.
        unmarked: functions that look like tests of pytest's, and are none of an image's.
        idle: modules of the project that are imported whole, and whose marked functions the image does not have.
    """

    file: Path
    module: ModuleType
    images: tuple[ImageSpec, ...]
    variables: type | None
    functions: Mapping[str, tuple[Function, ...]]
    unmarked: tuple[str, ...] = ()
    idle: unused.Idle = field(default_factory=dict[Path, tuple[str, ...]])

    @property
    def folder(self) -> Path:
        """The imagefile's folder: what relative paths are relative to."""
        return self.file.parent

    def image(self, name: str) -> ImageSpec:
        """Return an image by its own (function) name."""
        return next(image for image in self.images if image.name == name)


def read(module: ModuleType, file: Path, marks: Sequence[NewMark] = ()) -> Recipe:
    """Collect what a module marks, in file order, and check it.

    Args:
        module: the imagefile, imported.
        file: its file.
        marks: those that were made while it was imported.

    Raises:
        ImagefileError: for the first mistake found, with file and line.
    """
    marked: dict[str, list[Any]] = {kind: [] for kind in (*SUBJECTS, "variables")}
    for name, thing in [*vars(module).items()]:
        mark = mark_of(thing)
        if mark is not None and not any(thing is other for other in marked[mark.kind]):
            marked[mark.kind].append(thing)
            give_alias(thing, "" if vars(module).get(own_name(thing)) is thing else name)
    variables = variable_class.check(marked.pop("variables"))
    for kind, things in marked.items():
        for function in things:
            check_signature(kind, function, has_variables=variables is not None)
    functions = {kind: tuple(things) for kind, things in marked.items()}
    name_checks.check(_with_variables(functions), variables)
    images = tuple(_specs(functions, file, variables))
    unused.check(images, functions, module, file, marks)
    idle = unused.idle_modules(functions, module, file, marks)
    unmarked = () if any(image.suites for image in images) else unused.unmarked_tests(functions, module, file)
    return Recipe(
        file=file,
        module=module,
        images=images,
        variables=variables,
        functions=functions,
        unmarked=unmarked,
        idle=idle,
    )


def _with_variables(functions: Mapping[str, tuple[Function, ...]]) -> Iterator[tuple[Function, int]]:
    """Yield the functions that get the variables, each with the number of the parameter; a test's may be a fixture."""
    for kind, found in functions.items():
        place = len(SUBJECTS[kind])
        for function in found:
            names = list(inspect.signature(function).parameters)
            if takes_variables(kind, function) and (kind != "test" or names[place] == "v"):
                yield function, place


def _specs(functions: Mapping[str, tuple[Function, ...]], file: Path, variables: type | None) -> Iterator[ImageSpec]:
    if not functions["image"]:
        yield _implicit(functions, file)
    for function in functions["image"]:
        mark = mark_of(function)
        options = dict(mark.options) if mark else {}
        where = location_of(function)
        given = options.get("tests")
        suites = suites_of(name_of(function), given, file.parent, where) if isinstance(given, list | tuple) else ()
        if suites:
            options["tests"] = [member for member in given or () if not is_suite(member, file.parent)]
        parts = {
            kind: _part(function, key, kind, options.pop(key, None), functions, has_variables=variables is not None)
            for key, kind in (("sources", "source"), ("tasks", "task"), ("tests", "test"), ("post", "post"))
        }
        matrix = _matrix(function, options.pop("matrix", None) or {}, variables)
        if not parts["source"]:
            raise ImagefileError(f"image {name_of(function)} has no source", where=where, hint="sources=[...]")
        yield ImageSpec(
            name=name_of(function),
            function=function,
            where=where,
            matrix=matrix,
            options=options,
            sources=parts["source"],
            tasks=parts["task"],
            tests=parts["test"],
            post=parts["post"],
            suites=suites,
        )


def _implicit(functions: Mapping[str, tuple[Function, ...]], file: Path) -> ImageSpec:
    if not functions["source"]:
        raise ImagefileError(
            "this imagefile has no source",
            where=Location(file, 1),
            hint="mark a function with @bakery.source and let it return Qemu(base=Debian('bookworm'))",
        )
    name = "".join(char if char.isalnum() or char in "._-" else "-" for char in file.parent.name).strip("-.") or "image"
    return ImageSpec(
        name=name,
        function=None,
        where=Location(file, 1),
        sources=functions["source"],
        tasks=functions["task"],
        tests=functions["test"],
        post=functions["post"],
    )


def _part(
    owner: Function,
    key: str,
    kind: str,
    given: Sequence[Function] | None,
    functions: Mapping[str, tuple[Function, ...]],
    *,
    has_variables: bool,
) -> tuple[Function, ...]:
    if given is None:
        return functions[kind]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ImagefileError(
            f"{key}= of image {name_of(owner)} is {repr_of(given)}, not a list",
            where=location_of(owner),
            hint=f"{key}=[...]: the functions themselves",
        )
    for thing in given:
        _check_member(owner, key, kind, thing, functions, has_variables=has_variables)
    return tuple(given)


def _check_member(
    owner: Function,
    key: str,
    kind: Kind | str,
    thing: Any,
    functions: Mapping[str, tuple[Function, ...]],
    *,
    has_variables: bool,
) -> None:
    mark = mark_of(thing)
    if mark is not None and mark.kind == kind:
        check_signature(kind, thing, has_variables=has_variables)  # it may come from another module
        return
    name = repr_of(thing) if mark is None and not callable(thing) else name_of(thing)
    if mark is not None:
        right = {"source": "sources", "task": "tasks", "test": "tests"}.get(mark.kind, mark.kind)
        why, hint = f"{name} is marked as a {mark.kind}", f"list it under {right}="
    elif isinstance(thing, str):
        near = nearest(thing, map(name_of, functions[kind]))
        why, hint = "names as strings are not looked up", f"write {near or 'the function'} without quotes"
        hint += '; a pytest suite is a path: tests=["tests/"]' if kind == "test" else ""
    else:
        why, hint = f"{name} carries no mark", f"put @bakery.{kind} above it"
    raise ImagefileError(f"{key}= of image {name_of(owner)} holds {name}", why=why, hint=hint, where=location_of(owner))


def _matrix(owner: Function, matrix: Mapping[str, Sequence[Any]], variables: type | None) -> dict[str, tuple[Any, ...]]:
    known = list(getattr(variables, "__dataclass_fields__", {}))
    for axis, values in matrix.items():
        if axis not in known:
            none = "" if known else "; add @bakery.variables"
            hint = did_you_mean(str(axis), known, otherwise="variables are") + none
            raise ImagefileError(
                f"matrix axis {axis!r} of image {name_of(owner)} is no variable", hint=hint, where=location_of(owner)
            )
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ImagefileError(
                f"matrix axis {axis!r} of image {name_of(owner)} needs a list of values, not {repr_of(values)}",
                where=location_of(owner),
            )
    return {axis: tuple(values) for axis, values in matrix.items()}
