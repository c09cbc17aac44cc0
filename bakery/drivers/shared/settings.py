"""A source as JSON and back: what an image of it must remember, so that it can be built upon in another process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

from bakery.model import Endpoint, Source, from_json, to_json

Texts = str | tuple[str, ...]


def words(value: Texts | None) -> tuple[str, ...]:
    """Return none, one text or several as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def to_settings(source: Source) -> dict[str, Any]:
    """Return JSON from which `from_settings` reads the source's fields again, without its base."""
    data = to_json(source.on(""))
    assert isinstance(data, dict)  # noqa: S101  a dataclass becomes an object
    return data


def from_settings(
    source: type[Source], data: Mapping[str, Any], nouns: Iterable[type], *, raw: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields of a source that `to_settings` wrote down; those of other versions are passed over.

    Args:
        source: its class.
        data: what was written.
        nouns: the classes that its fields hold.
        raw: fields that hold the provider's own JSON, which is left as it is.
    """
    known = {f.name for f in fields(source)}
    values = {key: value if key in raw else read(value, nouns) for key, value in data.items() if key in known}
    if values.get("bastion"):
        values["bastion"] = from_json(Endpoint, data["bastion"])
    return values


def read(value: Any, nouns: Iterable[type]) -> Any:
    """Turn JSON that `model.to_json` wrote back into the nouns of a source; lists become tuples."""
    by_name = {noun.__name__: noun for noun in nouns}

    def turn(value: Any) -> Any:
        match value:
            case {"type": str(name), **rest} if name in by_name:
                return by_name[name](**{str(key): turn(item) for key, item in rest.items()})
            case Mapping():
                return {key: turn(item) for key, item in value.items()}
            case list() | tuple():
                return tuple(turn(item) for item in value)
            case _:
                return value

    return turn(value)
