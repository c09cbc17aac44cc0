"""Options of a source that are of a wrong kind: refused where they were written, before anybody reckons with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from bakery.errors import ImagefileError

_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "True or False"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    Mapping: ((Mapping,), 'a dictionary: {"name": "value"}'),
}


def refuse_wrong_kinds(source: Any) -> None:
    """Compare the values of a source with the kinds that its fields say, where these are simple ones.

    Args:
        source: a dataclass.

    Raises:
        ImagefileError: one is of another kind, such as `cpus="2"`.
    """
    hints = get_type_hints(type(source))
    for field in fields(source):
        value, hint = getattr(source, field.name), hints[field.name]
        allowed, wanted = _KINDS.get(get_origin(hint) or hint, ((object,), ""))
        if not isinstance(value, allowed) or (isinstance(value, bool) and int in allowed):
            named = f"{type(source).__name__}({field.name}={value!r})"
            raise ImagefileError(f"{named}: no value of that kind", hint=wanted)
        if hint == Mapping[str, str]:
            _refuse_other_than_texts(f"{type(source).__name__}({field.name}=...)", value)


def _refuse_other_than_texts(named: str, given: Any) -> None:
    for entry in given.items():
        if wrong := [part for part in entry if not isinstance(part, str)]:
            raise ImagefileError(f"{named}: {wrong[0]!r} is no text", hint=_KINDS[Mapping][1])
