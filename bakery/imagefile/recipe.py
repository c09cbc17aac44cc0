"""What an imagefile says, before any variable has a value."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from bakery.errors import ImagefileError, Location
from bakery.imagefile import name_checks
from bakery.imagefile.decorators import Function, Kind, location_of, mark_of

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "source": (),
    "task": ("machine",),
    "test": ("host",),
    "post": ("artifact",),
    "image": (),
}


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """One `@bakery.image`, or the implicit image of a file that has none.

    Args:
        name: the function's name, or the folder's.
        function: the function that names the image; None for the implicit one.
        where: where it stands.
        sources, tasks, tests, post: its functions, in order.
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
    matrix: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An imagefile, loaded and checked: functions and classes, nothing computed."""

    file: Path
    module: ModuleType
    images: tuple[ImageSpec, ...]
    variables: type | None
    functions: Mapping[str, tuple[Function, ...]]

    @property
    def folder(self) -> Path:
        """The imagefile's folder: what relative paths are relative to."""
        return self.file.parent

    def image(self, name: str) -> ImageSpec:
        """Return an image by its own (function) name."""
        return next(image for image in self.images if image.name == name)


def read(module: ModuleType, file: Path) -> Recipe:
    """Collect what a module marks, in file order, and check it.

    Raises:
        ImagefileError: for the first mistake found, with file and line.
    """
    marked: dict[str, list[Any]] = {kind: [] for kind in (*SUBJECTS, "variables")}
    for thing in vars(module).values():
        mark = mark_of(thing)
        if mark is not None and thing not in marked[mark.kind]:
            marked[mark.kind].append(thing)
    for kind, things in marked.items():
        for function in things if kind != "variables" else ():
            check_signature(kind, function)
    classes = marked.pop("variables")
    if len(classes) > 1:
        raise ImagefileError(
            "two classes of variables in one imagefile",
            where=location_of(classes[1]),
            hint=f"move the fields of {classes[1].__name__} into {classes[0].__name__}",
        )
    functions = {kind: tuple(found) for kind, found in marked.items()}
    name_checks.check(_with_variables(functions), classes[0] if classes else None)
    images = tuple(_specs(functions, file, classes[0] if classes else None))
    return Recipe(
        file=file, module=module, images=images, variables=classes[0] if classes else None, functions=functions
    )


def check_signature(kind: str, function: Function) -> None:
    """Check the number of arguments: the subject first, then the variables; a test may have fixtures besides.

    Raises:
        ImagefileError: too few or too many.
    """
    subjects = SUBJECTS[kind]
    names = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    least, most = len(subjects), len(subjects) + 1
    if len(names) >= least and (len(names) <= most or kind == "test"):
        return
    wanted = ", ".join((*subjects, "v"))
    kinds = (
        "no argument, or the variables" if not subjects else f"the {subjects[0]}, then the variables if it needs them"
    )
    raise ImagefileError(
        f"{kind} {function.__name__}({', '.join(names)}) has {len(names)} arguments",
        why=f"a {kind} takes {kinds}",
        hint=f"def {function.__name__}({wanted}): ...",
        where=location_of(function),
    )


def takes_variables(kind: str, function: Function) -> bool:
    """Say whether a function asks for the variables, by the number of its arguments."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return len(parameters) > len(SUBJECTS[kind])


def _with_variables(functions: Mapping[str, tuple[Function, ...]]) -> Iterator[tuple[Function, int]]:
    """The functions that get the variables, each with the number of the parameter; a test's may be a fixture."""
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
        parts = {
            kind: _part(function, key, kind, options.pop(key, None), functions)
            for key, kind in (("sources", "source"), ("tasks", "task"), ("tests", "test"), ("post", "post"))
        }
        matrix = _matrix(function, options.pop("matrix", None) or {}, variables)
        if not parts["source"]:
            raise ImagefileError(f"image {function.__name__} has no source", where=where, hint="sources=[...]")
        yield ImageSpec(
            name=function.__name__,
            function=function,
            where=where,
            matrix=matrix,
            options=options,
            sources=parts["source"],
            tasks=parts["task"],
            tests=parts["test"],
            post=parts["post"],
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
) -> tuple[Function, ...]:
    if given is None:
        return functions[kind]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ImagefileError(
            f"{key}= of image {owner.__name__} is {given!r}, not a list",
            where=location_of(owner),
            hint=f"{key}=[...]: the functions themselves",
        )
    for thing in given:
        _check_member(owner, key, kind, thing, functions)
    return tuple(given)


def _check_member(
    owner: Function, key: str, kind: Kind | str, thing: Any, functions: Mapping[str, tuple[Function, ...]]
) -> None:
    mark = mark_of(thing)
    if mark is not None and mark.kind == kind:
        check_signature(kind, thing)  # it may come from another module
        return
    name = getattr(thing, "__name__", repr(thing))
    if mark is not None:
        right = {"source": "sources", "task": "tasks", "test": "tests"}.get(mark.kind, mark.kind)
        why, hint = f"{name} is marked as a {mark.kind}", f"list it under {right}="
    elif isinstance(thing, str):
        near = get_close_matches(thing, [f.__name__ for f in functions[kind]], n=1)
        why, hint = "names as strings are not looked up", f"write {near[0] if near else 'the function'} without quotes"
    else:
        why, hint = f"{name} carries no mark", f"put @bakery.{kind} above it"
    raise ImagefileError(f"{key}= of image {owner.__name__} holds {name}", why=why, hint=hint, where=location_of(owner))


def _matrix(owner: Function, matrix: Mapping[str, Sequence[Any]], variables: type | None) -> dict[str, tuple[Any, ...]]:
    known = list(getattr(variables, "__dataclass_fields__", {}))
    for axis, values in matrix.items():
        if axis not in known:
            near = get_close_matches(axis, known, n=1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"variables are: {', '.join(known) or 'none; add @bakery.variables'}"
            )
            raise ImagefileError(
                f"matrix axis {axis!r} of image {owner.__name__} is no variable", hint=hint, where=location_of(owner)
            )
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ImagefileError(
                f"matrix axis {axis!r} of image {owner.__name__} needs a list of values, not {values!r}",
                where=location_of(owner),
            )
    return {axis: tuple(values) for axis, values in matrix.items()}
