"""From text, or the data of a variable file, to the type that a variable is annotated with; and back to plain data."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import json
import os
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from bakery.util.suggestions import did_you_mean
from bakery.util.units import parse_duration

TRUE, FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
NONE: Final = type(None)
_TAG: Final = "__type__"


def _timedelta(text: str) -> dt.timedelta:
    return dt.timedelta(seconds=parse_duration(text))


def _span_text(span: dt.timedelta) -> str:
    return f"{span.total_seconds():f}".rstrip("0").rstrip(".") + "s"


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a decimal number is wanted") from None


_ADDRESSES: Final = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
_PATHS: Final = (Path, PurePath, PurePosixPath, PureWindowsPath)
_SCALARS: Final[Mapping[type, tuple[Callable[[str], Any], Callable[[Any], str], str]]] = {
    dt.datetime: (dt.datetime.fromisoformat, dt.datetime.isoformat, "a date and a time, as in 2026-01-31T12:00:00"),
    dt.date: (dt.date.fromisoformat, dt.date.isoformat, "a date, as in 2026-01-31"),
    dt.time: (dt.time.fromisoformat, dt.time.isoformat, "a time, as in 12:00"),
    dt.timedelta: (_timedelta, _span_text, "a span of time: 90, 30m, 12h, 7d"),
    Decimal: (_decimal, str, "a decimal number"),
    uuid.UUID: (uuid.UUID, str, "a UUID"),
    bytes: (os.fsencode, os.fsdecode, "text"),  # all of them: what is no UTF-8 becomes surrogates
    **{address: (address, str, f"an {address.__name__}") for address in _ADDRESSES},
    **{path: (path, str, "a path") for path in _PATHS},
}
"""Type to how it is read, how it is written, and what is wanted where something else was given."""

_LISTS: Final[Mapping[Any, type]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)


def convert(value: Any, wanted: Any) -> Any:
    """Turn a value, often text, into the annotated type.

    Args:
        value: text from the command line or the environment, or what a variable file holds, or a default.
        wanted: the annotation, its names resolved.

    Raises:
        ValueError: it cannot be, with the reason.
        TypeError: the same.
    """
    wanted = _bare(wanted)
    origin, args = get_origin(wanted), get_args(wanted)
    if wanted is Any or wanted is object or isinstance(wanted, typing.TypeVar):
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, args)
    if origin is Literal:
        return _literal(value, args)
    kind = origin or wanted
    if kind in _LISTS and not isinstance(value, abc.Mapping):
        return _list(value, _LISTS[kind], args)
    if kind in _MAPPINGS:
        return _mapping(value, *(args or (Any, Any)))
    if typing.is_typeddict(kind):
        hints = get_type_hints(kind)
        return {name: convert(item, hints.get(name, Any)) for name, item in _table(value).items()}
    if not isinstance(kind, type):
        raise _wanted(f"no variable can be a {shown_type(wanted)}")
    return _object(value, kind)


def _wanted(text: str) -> ValueError:
    return ValueError(text)


def shown_type(wanted: Any) -> str:
    """Return an annotation as the user wrote it, more or less."""
    return getattr(wanted, "__name__", str(wanted)) if not get_args(wanted) else str(wanted).replace("typing.", "")


def _bare(wanted: Any) -> Any:
    """Take off what stands around a type: `Annotated`, `Final`, `NewType`, `type X = ...`."""
    while True:
        if wanted is None:
            return NONE
        if get_origin(wanted) in (Annotated, typing.Final):
            wanted = get_args(wanted)[0]
        elif isinstance(wanted, typing.NewType):
            wanted = wanted.__supertype__
        elif type(wanted).__name__ == "TypeAliasType":  # since Python 3.12
            wanted = wanted.__value__
        else:
            return wanted


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    """Of a union, the type that a value has already; for text the first that can be made of it."""
    if NONE in choices and (value is None or (isinstance(value, str) and value in ("", "none"))):
        return None
    others = [choice for choice in choices if choice is not NONE]
    if not isinstance(value, str):
        others.sort(key=lambda choice: type(value) is not choice)
    reasons: list[str] = []
    for choice in others:
        try:
            return convert(value, choice)
        except (ValueError, TypeError) as error:
            reasons.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(reasons)))


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value == choice or str(choice) == value:
            return choice
    raise ValueError(f"allowed are: {', '.join(map(str, choices))}")


def _list(value: Any, kind: type, args: tuple[Any, ...]) -> Any:
    items = _items(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple | set | frozenset):
        raise _wanted('a list is wanted: a,b or ["a", "b"]')
    if kind is tuple and args and args[1:] != (Ellipsis,):
        if len(items) != len(args):
            raise _wanted(f"a list of {len(args)} is wanted")
        return tuple(convert(item, wanted) for item, wanted in zip(items, args, strict=True))
    return kind(convert(item, args[0] if args else Any) for item in items)


def _items(text: str) -> Any:
    """Read a list from text: JSON, or words between commas."""
    text = text.strip()
    if text.startswith("["):
        return _json(text)
    return [item.strip() for item in text.split(",")] if text else []


def _mapping(value: Any, key: Any, item: Any) -> dict[Any, Any]:
    return {convert(name, key): convert(each, item) for name, each in _table(value).items()}


def _table(value: Any) -> Mapping[Any, Any]:
    table = _json(value) if isinstance(value, str) else value
    if not isinstance(table, abc.Mapping):
        raise _wanted('a mapping is wanted: {"a": 1}')
    return table


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error}") from error


def _object(value: Any, kind: Any) -> Any:
    """Make an object of a class: one of Python's, or of the user's own."""
    if kind in (bool, int, float, str):
        return _scalar(value, kind)
    if kind is NONE:
        raise _wanted("none is wanted")
    if issubclass(kind, Enum):
        return _member(value, kind)
    if kind in _SCALARS:
        return _known(value, kind)
    if isinstance(value, kind):
        return value
    if dataclasses.is_dataclass(kind):
        return _made(kind, value, {field.name for field in dataclasses.fields(kind) if field.init})
    names: tuple[str, ...] | None = getattr(kind, "_fields", None)
    if issubclass(kind, tuple) and names is not None:
        if not isinstance(value, str | abc.Mapping):
            value = dict(zip(names, value, strict=True))
        return _made(kind, value, set(names))
    if isinstance(value, str):
        return kind(value)
    raise _wanted(f"a {kind.__name__} is wanted")


def _made(kind: Any, value: Any, names: set[str]) -> Any:
    table, hints = _table(value), get_type_hints(kind)
    for name in table:
        if name not in names:
            hint = did_you_mean(str(name), sorted(names))
            raise ValueError("; ".join(filter(None, (f"{kind.__name__} has no {name}", hint))))
    return kind(**{name: convert(item, hints.get(name, Any)) for name, item in table.items()})


def _member(value: Any, kind: type[Enum]) -> Enum:
    if isinstance(value, kind):
        return value
    for member in kind:
        if value in (member.value, member.name) or value == str(member.value):
            return member
    try:
        return kind(value)  # flags, and what `_missing_` knows
    except ValueError:
        raise ValueError(f"allowed are: {', '.join(str(member.value) for member in kind)}") from None


def _known(value: Any, kind: type) -> Any:
    read, _, wanted = _SCALARS[kind]
    if isinstance(value, kind) and not (kind is dt.date and isinstance(value, dt.datetime)):
        return value
    if kind is dt.timedelta and isinstance(value, int | float) and not isinstance(value, bool):
        return dt.timedelta(seconds=value)
    if kind is Decimal and isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    if kind in _PATHS and isinstance(value, PurePath):
        return read(str(value))
    if not isinstance(value, str):
        raise _wanted(f"{wanted} is wanted")
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{wanted} is wanted: {error}") from error


def _scalar(value: Any, wanted: type) -> Any:
    if wanted is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in TRUE | FALSE:
            return str(value).lower() in TRUE
        raise _wanted("true or false is wanted")
    if wanted in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, float, str))):
        raise _wanted("a number is wanted")
    if wanted is int and isinstance(value, float):
        raise _wanted("a whole number is wanted")
    if wanted is str and not isinstance(value, str):
        raise _wanted(f"text is wanted, and this is {type(value).__name__}; put it in quotes")
    if wanted in (int, float) and isinstance(value, str):
        try:
            return wanted(value)
        except ValueError:
            raise ValueError("a whole number is wanted" if wanted is int else "a number is wanted") from None
    return value if type(value) is wanted else wanted(value)


# ---- and back ----------------------------------------------------------------------------------------------------


def to_plain(value: Any) -> Any:
    """Return JSON data of which `from_plain` and `convert` make an equal value.

    Raises:
        TypeError: the value is of a kind that cannot be.
    """
    match value:
        case Enum():
            return to_plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list() | set() | frozenset():
            names: tuple[str, ...] | None = getattr(value, "_fields", None)
            if names is not None:
                return {name: to_plain(item) for name, item in zip(names, value, strict=True)}
            return [to_plain(item) for item in value]
        case abc.Mapping():
            return {_key(key): to_plain(item) for key, item in value.items()}
        case _:
            pass
    for kind in type(value).__mro__:
        if kind in _SCALARS:
            return {_TAG: kind.__name__, "text": _SCALARS[kind][1](value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    raise TypeError(f"a {type(value).__name__}, which is no plain data")


def _key(key: Any) -> str:
    """Return a key as text: JSON has no others."""
    return str(shown(key.value if isinstance(key, Enum) else key))


def from_plain(data: Any) -> Any:
    """Turn what `to_plain` returned into objects, as far as it says of which type they are."""
    match data:
        case {"__type__": str(name), "text": str(text)}:
            return next(read(text) for kind, (read, _, _) in _SCALARS.items() if kind.__name__ == name)
        case dict():
            return {key: from_plain(item) for key, item in data.items()}
        case list():
            return [from_plain(item) for item in data]
    return data


def shown(value: Any) -> Any:
    """Return JSON data for people, and for the plan."""
    match to_plain(value):
        case {"__type__": str(), "text": str(text)}:
            return text
        case dict(table):
            return {key: shown(from_plain(item)) for key, item in table.items()}
        case list(items):
            return [shown(from_plain(item)) for item in items]
        case plain:
            return plain
