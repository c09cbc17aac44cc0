"""Whatever carries a mark and would not run is a mistake that is told, as is a name that two functions share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, Protocol, TypeGuard

from bakery.errors import ImagefileError, Location
from bakery.imagefile.marks import Mark, NewMark, function_in, location_of, mark_of, name_of, own_name
from bakery.imagefile.user_code import is_users_file

Functions = Mapping[str, tuple[Any, ...]]
Idle = Mapping[Path, tuple[str, ...]]
"""Names of what modules mark, by their files."""
KEYS: Final = {"source": "sources", "task": "tasks", "test": "tests", "post": "post"}


class ImageParts(Protocol):
    """What is looked at of an image: its parts."""

    @property
    def sources(self) -> tuple[Any, ...]:
        """Its sources."""
        ...

    @property
    def tasks(self) -> tuple[Any, ...]:
        """Its tasks."""
        ...

    @property
    def tests(self) -> tuple[Any, ...]:
        """Its tests."""
        ...

    @property
    def post(self) -> tuple[Any, ...]:
        """Its post steps."""
        ...


def check(
    images: Sequence[ImageParts], functions: Functions, module: ModuleType, file: Path, marks: Sequence[NewMark]
) -> None:
    """Look for functions of one name, and for marks that belong to no image.

    Args:
        images: all of the imagefile.
        functions: what the imagefile's module holds, by kind.
        module: the imagefile's.
        file: its file. What other modules mark and the imagefile does not name is a library's, and may go unused.
        marks: those that were made while it was imported.

    Raises:
        ImagefileError: for the first that is found.
    """
    _refuse_namesakes("image", functions["image"])
    for image in images:
        for kind, things in _parts(image).items():
            _refuse_namesakes(kind, things)
    used = {
        mark.token for mark in _marks((*_all(images, functions), *functions["source"]))
    }  # a spare source harms nobody
    _refuse_methods(module, used)
    _refuse_sourceless(images)
    for each in marks:
        line = next((line for line in each.lines if line.file == file), None)
        if line is not None and each.mark.kind != "variables" and each.mark.token not in used:
            raise _unused(each, line, marks, functions, explicit=bool(functions["image"]))


def idle_modules(functions: Functions, module: ModuleType, file: Path, marks: Sequence[NewMark]) -> Idle:
    """Find the project's modules that an imagefile without `@bakery.image` imports whole, and takes nothing marked of.

    Its image has what the imagefile itself holds: `import checks` brings the module, and none of its tests.

    Args:
        functions, module, file, marks: as for `check`.
    """
    if functions["image"]:
        return {}
    whole = {thing.__name__ for thing in vars(module).values() if type(thing) is ModuleType}
    used = {mark.token for things in functions.values() for mark in _marks(things)}
    found: dict[Path, list[NewMark]] = {}
    for each in marks:
        place = each.mark.where.file
        theirs = place != file and place.is_relative_to(file.parent) and getattr(each.thing, "__module__", "") in whole
        if theirs and each.mark.kind not in ("variables", "source"):
            found.setdefault(place, []).append(each)
    return {
        place: tuple(each.mark.name or own_name(each.thing) for each in made)
        for place, made in found.items()
        if is_users_file(str(place)) and not any(each.mark.token in used for each in made)
    }


def unmarked_tests(functions: Functions, module: ModuleType, file: Path) -> tuple[str, ...]:
    """Name what pytest would take for tests of a host, and nobody marks, lists or calls.

    Args:
        functions, module, file: as for `check`.
    """
    own = [thing for thing in vars(module).values() if _is_of(thing, file)]
    called = {name for thing in own for name in thing.__code__.co_names}
    marked = {id(function_in(thing)) for things in functions.values() for thing in things}
    methods = (
        member
        for holder in vars(module).values()
        if issubclass(type(holder), type) and holder.__name__.startswith("Test")
        for member in vars(holder).values()
        if _is_of(member, file)
    )
    return tuple(
        thing.__qualname__
        for thing in (*own, *methods)
        if thing.__name__.startswith("test_")
        and "host" in thing.__code__.co_varnames[: thing.__code__.co_argcount]
        and mark_of(thing) is None
        and id(thing) not in marked
        and thing.__name__ not in called
    )


def _is_of(thing: Any, file: Path) -> TypeGuard[FunctionType]:
    return type(thing) is FunctionType and thing.__code__.co_filename == str(file)


def _parts(image: ImageParts) -> Functions:
    return {"source": image.sources, "task": image.tasks, "test": image.tests, "post": image.post}


def _all(images: Sequence[ImageParts], functions: Functions) -> Iterator[Any]:
    yield from functions["image"]
    for image in images:
        for things in _parts(image).values():
            yield from things


def _marks(things: Iterable[Any]) -> Iterator[Mark]:
    for thing in things:
        if (mark := mark_of(thing)) is not None:
            yield mark


def _refuse_namesakes(kind: str, things: Sequence[Any]) -> None:
    seen: dict[str, Any] = {}
    for thing in things:
        name = name_of(thing)
        if name == "<lambda>":
            raise ImagefileError(
                f"a {kind} that is a lambda has no name",
                hint=f'bakery.{kind}(name="...")(lambda ...), or bind it to a name in the imagefile',
                where=location_of(thing),
            )
        twin = seen.setdefault(name, thing)
        if twin is not thing or (kind == "test" and sum(thing is other for other in things) > 1):
            raise ImagefileError(
                f"two {kind}s are called {name!r}",
                why=f"the first is at {location_of(twin)}",
                hint=f'give each a name of its own: @bakery.{kind}(name="...")',
                where=location_of(thing),
            )


def _refuse_sourceless(images: Sequence[ImageParts]) -> None:
    """Refuse what `only=` and `skip=` leave no source in any image that lists it: it would never run."""
    places: dict[int, tuple[str, Any, list[Any]]] = {}
    for image in images:
        for kind, things in _parts(image).items():
            for thing in things if kind != "source" else ():
                places.setdefault(id(thing), (kind, thing, []))[2].extend(image.sources)
    for kind, thing, sources in places.values():
        mark = mark_of(thing)
        only, skip = ((mark.options.get(key) or ()) if mark else () for key in ("only", "skip"))
        if not all(isinstance(each, list | tuple) for each in (only, skip)):
            continue  # the plan says what is wrong with them
        if not any((not only or _is_in(source, only)) and not _is_in(source, skip) for source in sources):
            names = ", ".join(dict.fromkeys(name_of(source) for source in sources)) or "none"
            raise ImagefileError(
                f"{kind} {name_of(thing)} would never run: its only= and skip= leave no source",
                why=f"the sources of the images that list it: {names}",
                hint="name one of them, or take it out of the list",
                where=location_of(thing),
            )


def _is_in(source: Any, sources: Iterable[Any]) -> bool:
    return any(source is other for other in sources)


def _refuse_methods(module: ModuleType, used: set[object]) -> None:
    """Refuse marks on methods: a class is no list of tests or tasks."""
    for holder in vars(module).values():
        if not issubclass(type(holder), type):
            continue
        for member in vars(holder).values():
            mark = mark_of(member)
            if mark is not None and mark.token not in used and mark.kind != "variables":
                raise ImagefileError(
                    f"{mark.kind} {own_name(member)} is a method of class {holder.__name__}, and is never run",
                    why="the methods of a class are not collected",
                    hint="write it as a function outside of the class"
                    + ("; what several tests share is a pytest fixture" if mark.kind == "test" else ""),
                    where=mark.where,
                )


def _unused(
    each: NewMark, line: Location, marks: Sequence[NewMark], functions: Functions, *, explicit: bool
) -> ImagefileError:
    kind, name = each.mark.kind, each.mark.name or own_name(each.thing)
    where = each.mark.where if each.mark.where.file == line.file else line
    current = mark_of(each.thing)
    if current is not None and current.token is not each.mark.token:
        return ImagefileError(
            f"{kind} {name} is marked twice, and only the last mark counts",
            hint=f"to run it twice, mark another function: bakery.{kind}(functools.partial({own_name(each.thing)}))",
            where=where,
        )
    later = [other for other in marks if other is not each and _is_called(other, name)]
    if later:
        return ImagefileError(
            f"two functions are called {name}, and only the last would run",
            why=f"{kind} {name} is replaced by what is marked at {later[-1].mark.where}",
            hint="give each a name of its own"
            + (
                f"; to make {kind}s in a loop, collect them in a list with "
                f'@bakery.{kind}(name="...") and hand it to @bakery.image({KEYS[kind]}=[...])'
                if kind in KEYS
                else ""
            ),
            where=where,
        )
    if kind == "image":
        hint = f"bind it to a name of its own in the imagefile: {name} = ..."
    elif explicit and any(each.thing is thing for thing in functions[kind]):
        hint = f"list it: @bakery.image({KEYS[kind]}=[..., {own_name(each.thing)}]); or take the mark away"
    else:
        hint = f"list it: @bakery.image({KEYS[kind]}=[...]); or bind it to a name of its own in the imagefile"
    return ImagefileError(f"{kind} {name} belongs to no image, and would never run", hint=hint, where=where)


def _is_called(other: NewMark, name: str) -> bool:
    return name in (other.mark.name, own_name(other.thing))
