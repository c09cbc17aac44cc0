"""The class of an imagefile's variables: that there is one, and that what it holds are variables."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, ClassVar, Final, TypeVar, get_origin, get_type_hints

from bakery.errors import BakeryError, ImagefileError, Location
from bakery.imagefile.conversion import convert, from_plain, shown_type, to_plain
from bakery.imagefile.marks import location_of, mark_of
from bakery.imagefile.user_code import call_user_code, describe, repr_of, user_line
from bakery.redaction.secret import Secret

T = TypeVar("T")
_WRITTEN: Final = "write an ordinary class, with a line for each variable: workers: int = 4"


# ---- when it is marked -------------------------------------------------------------------------------------------


def prepare(cls: type) -> None:
    """Make a frozen dataclass of a class, in place.

    Raises:
        ImagefileError: it is another kind of class, or holds something that looks like a variable and is none.
    """
    where = location_of(cls)
    if type(cls) not in (type, ABCMeta) or issubclass(cls, (tuple, dict, list, Enum, BaseException)):
        raise ImagefileError(f"{cls.__name__} is no ordinary class", hint=_WRITTEN, where=where)
    if hasattr(cls, "__attrs_attrs__"):
        raise ImagefileError(f"{cls.__name__} is a class of attrs", hint=f"take attrs away; {_WRITTEN}", where=where)
    _check_bases(cls)
    _check_annotations(cls)
    own = vars(cls)
    if "__dataclass_fields__" in own:
        if own["__dataclass_params__"].frozen:
            return
        if "__slots__" in own:
            raise ImagefileError(f"{cls.__name__} is a dataclass with slots", hint="take @dataclass away", where=where)
        _restore_fields(cls)
    _copy_mutable_defaults(cls)
    try:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    except (TypeError, ValueError) as error:
        raise ImagefileError(f"{cls.__name__} cannot hold variables: {error}", hint=_WRITTEN, where=where) from error


def _check_bases(cls: type) -> None:
    for base in cls.__mro__[1:-1]:
        names = [name for name, _ in _annotations(base)]
        if names and "__dataclass_fields__" not in vars(base):
            raise ImagefileError(
                f"{cls.__name__} inherits {names[0]} from {base.__name__}, which is no class of variables",
                hint=f"write @bakery.variables above {base.__name__} as well",
                where=location_of(cls),
            )
        if "__dataclass_fields__" in vars(base) and not vars(base)["__dataclass_params__"].frozen:
            raise ImagefileError(
                f"{cls.__name__} inherits from the dataclass {base.__name__}, whose values may change",
                hint=f"write @bakery.variables above {base.__name__} in place of @dataclass",
                where=location_of(cls),
            )


def _annotations(cls: type) -> Iterator[tuple[str, Any]]:
    for name, kind in inspect.get_annotations(cls).items():
        is_text = isinstance(kind, str) and kind.removeprefix("typing.").startswith("ClassVar")
        if not is_text and ClassVar not in (kind, get_origin(kind)):
            yield name, kind


def _check_annotations(cls: type) -> None:
    """Find `workers = 4`: a constant of the class, which no `-v workers=8` would change."""
    for holder in cls.__mro__[:-1]:
        annotated = inspect.get_annotations(holder)
        for name, value in vars(holder).items():
            is_field = isinstance(value, dataclasses.Field)
            if name in annotated or (not is_field and (name.startswith("_") or _is_member(value))):
                continue
            kind = type(value).__name__ if not is_field else "str"
            raise ImagefileError(
                f"{name} of {cls.__name__} has no type, and so is no variable",
                hint=f"{name}: {kind} = ...; for a constant write {name}: ClassVar[{kind}] = ...",
                where=field_location(holder, name),
            )


def _is_member(value: Any) -> bool:
    """Say whether a class has something for another end than to hold a value: a method, a property, a class."""
    return callable(value) or hasattr(type(value), "__get__")


def _restore_fields(cls: type) -> None:
    """Put the descriptions of fields back to where `@dataclass` found them: it leaves only the defaults."""
    fields: dict[str, dataclasses.Field[Any]] = vars(cls)["__dataclass_fields__"]
    init_code = getattr(vars(cls).get("__init__"), "__code__", None)
    if init_code is not None and init_code.co_filename == "<string>":  # not replaced otherwise, as a user's is not
        delattr(cls, "__init__")
    for name, _ in _annotations(cls):
        if name not in fields:
            continue
        old = fields[name]
        kept = {key: getattr(old, key) for key in ("init", "repr", "hash", "compare", "metadata")}
        setattr(cls, name, dataclasses.field(default=old.default, default_factory=old.default_factory, **kept))


def _copy_mutable_defaults(cls: type) -> None:
    """Let `packages: list[str] = ["nginx"]` be what it looks like; each object gets a list of its own."""
    for name, _ in _annotations(cls):
        value = vars(cls).get(name)
        if value is not None and type(value).__hash__ is None:  # what dataclasses take for mutable
            setattr(cls, name, dataclasses.field(default_factory=functools.partial(copy.deepcopy, value)))


# ---- when the imagefile is read ----------------------------------------------------------------------------------


def check(classes: Sequence[type]) -> type | None:
    """Return the imagefile's class of variables; of a class and one that it inherits from, the former.

    Raises:
        ImagefileError: there are two, a field has a type that no variable can have, or a default that does not fit.
    """
    own = [cls for cls in classes if not any(other is not cls and issubclass(other, cls) for other in classes)]
    if len(own) > 1:
        raise ImagefileError(
            "two classes of variables in one imagefile",
            where=location_of(own[1]),
            hint=f"move the fields of {own[1].__name__} into {own[0].__name__}",
        )
    if not own:
        return None
    (cls,) = own
    mark = mark_of(cls)
    if mark is not None and mark.options.get("fields") is not vars(cls)["__dataclass_fields__"]:
        raise ImagefileError(
            f"{cls.__name__} has @dataclass above @bakery.variables",
            hint="take @dataclass away: @bakery.variables makes a dataclass",
            where=location_of(cls),
        )
    for field in dataclasses.fields(cls):
        if not field.init:
            raise ImagefileError(
                f"{field.name} of {cls.__name__} has init=False: nobody could give it a value",
                hint="write a property",
                where=field_location(cls, field.name),
            )
        if not is_secret(cls, field) and (default := default_of(cls, field)) is not dataclasses.MISSING:
            typed(cls, field.name, default, "default")
    return cls


def is_secret(cls: type, field: dataclasses.Field[Any]) -> bool:
    """Say whether a field holds a secret."""
    return bool(field.metadata.get("secret")) or hints_of(cls)[field.name] is Secret


def default_of(cls: type, field: dataclasses.Field[Any]) -> Any:
    """Return a field's default, a fresh one from its factory; `dataclasses.MISSING` where it has none.

    Raises:
        ImagefileError: the factory raises.
    """
    factory = field.default_factory
    if factory is dataclasses.MISSING:
        return field.default
    return of_class(cls, f"the default of variable {field.name}", factory, field_location(cls, field.name))


def of_class(cls: type, what: str, call: Callable[[], T], where: Location | None = None) -> T:
    """Call code that a class of variables consists of.

    Args:
        cls: the class.
        what: the sentence's subject.
        call: the call.
        where: its line, where the error has none.

    Raises:
        ImagefileError: whatever it raises.
    """
    try:
        return call_user_code(call)
    except ImagefileError as error:
        error.where = error.where or user_line(error) or where or location_of(cls)
        raise
    except BakeryError as error:
        line = error.where or user_line(error) or where or location_of(cls)
        raise ImagefileError(error.what, why=error.why, hint=error.hint, where=line) from error
    except Exception as error:
        verb, why, hint = describe(error)
        line = user_line(error) or where or location_of(cls)
        raise ImagefileError(f"{what} {verb}", why=why, hint=hint, where=line) from error


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Return the types of a class's fields.

    Raises:
        ImagefileError: a name in them is unknown.
    """
    try:
        return get_type_hints(cls)
    except Exception as error:  # any text may be an annotation
        raise ImagefileError(
            f"a variable's type is unknown: {type(error).__name__}: {error}", where=location_of(cls)
        ) from error


def typed(cls: type, name: str, value: Any, origin: str) -> Any:
    """Turn a variable's value into what it is annotated with.

    Args:
        cls: the class.
        name: the variable.
        value: what was given.
        origin: by whom.

    Raises:
        ImagefileError: it cannot be, or is nothing that another process can be told.
    """
    wanted = hints_of(cls)[name]
    if type(value) is wanted and wanted in (bool, int):
        return value  # as nearly all of a matrix' many cells hold
    what = f"variable {name} is {repr_of(value)} ({origin}), which is not {shown_type(wanted)}"
    try:
        kind = f"{shown_type(wanted)}, the type of variable {name},"
        typed_value = of_class(cls, kind, lambda: convert(value, wanted), field_location(cls, name))
    except ImagefileError as error:
        if not isinstance(error.__cause__, ValueError | TypeError):
            raise
        raise ImagefileError(
            what,
            why=str(error.__cause__),
            where=field_location(cls, name),
            hint=f"give it another value, or annotate it with what it is: {name}: {type(value).__name__}",
        ) from error
    _check_portable(cls, name, typed_value, wanted)
    return typed_value


def _check_portable(cls: type, name: str, value: Any, wanted: Any) -> None:
    """See that the process of the smoke tests can be told a value: they would else be the first to refuse it."""

    def survives() -> bool:
        back = convert(from_plain(to_plain(value)), wanted)
        return bool(back == value) or value != value  # noqa: PLR0124  not a number

    where = field_location(cls, name)
    try:
        if of_class(cls, f"variable {name}", survives, where):
            return
        why = f"a {type(value).__name__} is not the same any more after it was written down as plain data"
    except ImagefileError as error:
        why = str(error.__cause__ or error.what)
    raise ImagefileError(
        f"the variable {name} holds a {type(value).__name__}, which cannot be handed to the smoke tests",
        why=why,
        hint="use text, numbers, dates, addresses, paths, enums, dataclasses, or lists and mappings of them, and "
        "annotate it with what it is",
        where=where,
    )


def field_location(cls: type, name: str) -> Location:
    """Return the line of one field, so that a message points at it."""
    for holder in cls.__mro__[:-1]:
        if name in vars(holder) or name in inspect.get_annotations(holder):
            return _line_in(location_of(holder), name)
    return location_of(cls)


def _line_in(start: Location, name: str) -> Location:
    try:
        lines = start.file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return start
    for number in range(start.line, len(lines) + 1):
        if lines[number - 1].strip().startswith((f"{name}:", f"{name} :", f"{name} =", f"{name}=")):
            return Location(start.file, number)
    return start
