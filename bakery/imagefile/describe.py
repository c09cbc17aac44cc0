"""An imagefile as data, before any variable has a value: what `bake list` shows."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from bakery.imagefile.marks import Function, doc_of, location_of, mark_of, name_of
from bakery.imagefile.recipe import ImageSpec, Recipe
from bakery.imagefile.user_code import text_of
from bakery.imagefile.variable_class import default_of
from bakery.imagefile.variables import Value
from bakery.model import Source
from bakery.redaction.secret import Secret

VERSION = 1


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the images and variables of an imagefile as JSON data."""
    fields = dataclasses.fields(recipe.variables) if recipe.variables else ()
    return {
        "version": VERSION,
        "imagefile": str(recipe.file),
        "images": [_image(spec) for spec in recipe.images],
        "variables": [_variable(recipe.variables, field) for field in fields if recipe.variables],
    }


def _image(spec: ImageSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "doc": _doc(spec.function),
        "location": str(spec.where),
        "matrix": {axis: [_json(value) for value in values] for axis, values in spec.matrix.items()},
        "sources": [{**_function(function), "publishes": _publishes(function)} for function in spec.sources],
        "tasks": [_function(function) for function in spec.tasks],
        "tests": [_function(function) for function in spec.tests],
        "post": [_function(function) for function in spec.post],
        "suites": list(spec.suites),
    }


def _function(function: Function) -> dict[str, Any]:
    mark = mark_of(function)
    options = dict(mark.options) if mark else {}
    scope = {key: [name_of(source) for source in options.pop(key, None) or ()] for key in ("only", "skip")}
    described = {"name": name_of(function), "doc": _doc(function), "location": str(location_of(function))}
    return {**described, **scope, "options": {key: _json(value) for key, value in options.items()}}


def _publishes(function: Function) -> bool:
    """Whether a source says by its annotation that it publishes; it is not called, as no variable has a value yet."""
    try:
        returned = get_type_hints(function).get("return")
    except Exception:  # names that only a type checker can see; any text may be an annotation
        return False
    return isinstance(returned, type) and issubclass(returned, Source) and returned.publishes


def _variable(cls: type, field: dataclasses.Field[Any]) -> dict[str, Any]:
    secret = bool(field.metadata.get("secret")) or field.type in (Secret, "Secret", "bakery.Secret")
    has_default = not secret and (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )
    default: Any = None
    if has_default:
        default = default_of(cls, field)
    return {
        "name": field.name,
        "type": field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type)),
        "secret": secret,
        "env": field.metadata.get("env"),
        "has_default": has_default,
        "default": _json(default),
        "choices": [_json(choice) for choice in field.metadata.get("choices", ())],
        "help": field.metadata.get("help", ""),
    }


def _json(value: Any) -> Any:
    """JSON data as it is; anything else as text."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(item) for item in value]
    return text_of(value)


def _doc(function: Function | None) -> str:
    return "" if function is None else doc_of(function)


def value_text(value: Value) -> str:
    """Return a variable's value and its origin: `workers = 8 (-v)`."""
    if value.missing:
        return f"{value.name} is missing"
    text = "(secret)" if value.secret else repr(value.value)
    return f"{value.name} = {text} ({value.origin})"
