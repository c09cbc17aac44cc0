"""Model data as JSON, and read back by the types that classes declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def to_json(value: Any) -> Json:
    """Turn model data into JSON values; a dataclass gets its class name under `type`.

    Raises:
        TypeError: for anything that is not model data, so that nothing is guessed (and no secret is written).
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case Enum():
            return to_json(value.value)
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case set() | frozenset():
            return [to_json(item) for item in sorted(value)]
        case list() | tuple():
            return [to_json(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            shown = {f.name: to_json(getattr(value, f.name)) for f in fields(value) if f.metadata.get("json", True)}
            return {"type": type(value).__name__, **shown}
    raise TypeError(f"{type(value).__name__} is not model data")


def from_json(kind: type[T], data: Any) -> T:
    """Make model data out of what `to_json` or `dataclasses.asdict` made of it, by the types that its class declares.

    Entries that the class does not have are passed over: a later version wrote them, or another driver. Text, numbers
    and truth values are taken as they are.

    Args:
        kind: a dataclass.
        data: JSON values.

    Raises:
        ValueError: something is missing, or cannot be what it should be; begins with where: `Handle.resource.key`.
    """
    return cast("T", _reader(cast("Any", kind))(data, kind.__name__))


_Reader: TypeAlias = Callable[[Any, str], Any]
_PARSERS: Mapping[Any, Callable[[Any], Any]] = {Path: Path, datetime: datetime.fromisoformat}


@cache
def _reader(wanted: Any) -> _Reader:
    """Return the function that reads a value of a type; its second argument says where the value is."""
    origin, types = get_origin(wanted) or wanted, [kind for kind in get_args(wanted) if kind is not NoneType]
    if origin in (Union, UnionType):  # of one type and None; where there are several, they are text and numbers
        return lambda value, where: value if value is None or len(types) > 1 else _reader(types[0])(value, where)
    if origin in (tuple, list, set, frozenset):
        return lambda value, where: origin(_items(value, types, where))
    if origin in (dict, Mapping) and len(types) == 2 and is_dataclass(types[1]):  # noqa: PLR2004  of names and values
        return lambda value, where: {
            name: _reader(types[1])(item, f"{where}.{name}") for name, item in _entries(value, where)
        }
    if isinstance(wanted, type) and is_dataclass(wanted):
        return lambda value, where: wanted(**dict(_members(wanted, value, where)))
    if parse := _PARSERS.get(origin):
        return lambda value, where: _parsed(parse, value, where)
    return lambda value, _: value


def _items(value: Any, types: list[Any], where: str) -> Iterator[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is no list")  # noqa: TRY004  damaged data is no mistake of the caller
    for number, item in enumerate(value):
        kind = types[number] if Ellipsis not in types and number < len(types) else types[0]
        yield _reader(kind)(item, f"{where}[{number}]")


def _entries(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is no object")  # noqa: TRY004  damaged data is no mistake of the caller
    yield from value.items()


def _members(kind: type, value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is no object")  # noqa: TRY004  the same
    for name, reader, required in _fields(kind):
        if name in value:
            yield name, reader(value[name], f"{where}.{name}")
        elif required:
            raise ValueError(f"{where}.{name} is missing")


@cache
def _fields(kind: type) -> list[tuple[str, _Reader, bool]]:
    hints = get_type_hints(kind)
    return [
        (f.name, _reader(hints[f.name]), f.default is MISSING and f.default_factory is MISSING)
        for f in fields(kind)
        if f.init
    ]


def _parsed(parse: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return parse(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
