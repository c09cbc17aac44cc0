"""Giving every variable its value, and remembering where it came from.

Low to high: class default, matrix, variable files in order, environment `BAKE_VAR_NAME`, `-v NAME=VALUE`.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bakery.errors import ImagefileError, Location, UsageError
from bakery.imagefile.decorators import location_of
from bakery.redaction.secret import Secret

PREFIX = "BAKE_VAR_"
NONE = type(None)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user says outside the imagefile.

    Args:
        values: `-v NAME=VALUE`, as text.
        files: `--var-file`, in order.
        environ: the environment; passed in, never read in the middle.
    """

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    files: tuple[Path, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Value:
    """A variable's value as the plan shows it.

    Args:
        name: the variable.
        value: JSON data; None for a secret.
        origin: `default`, `matrix`, the file's path, `environment BAKE_VAR_X`, `-v`.
        secret: True where the value must not be shown.
        missing: True for a secret that nobody gave.
    """

    name: str
    value: Any
    origin: str
    secret: bool = False
    missing: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination of the matrix: the variables' object for the user's functions, and its values for the plan."""

    axes: Mapping[str, Any]
    values: tuple[Value, ...]
    variables: Any


class MissingSecret:
    """Stands in for a secret that nobody gave, so that `bake plan` needs none; any use of it says what is missing."""

    def __init__(self, error: ImagefileError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._error

    def __str__(self) -> str:
        raise self._error

    def __repr__(self) -> str:
        return "<missing secret>"

    @property
    def error(self) -> ImagefileError:
        """What is missing, for pre-flight."""
        return self._error


def resolve(cls: type | None, matrix: Mapping[str, Sequence[Any]], settings: Settings, folder: Path) -> list[Cell]:
    """Return one cell for each combination of the matrix.

    Args:
        cls: the variables' class; None where the imagefile has none.
        matrix: axis to values; an axis given by file, environment or command line is replaced.
        settings: what the user says.
        folder: the imagefile's folder.

    Raises:
        ImagefileError: an unknown variable, a wrong type, a value that is missing.
        UsageError: a variable file that cannot be read.
    """
    if cls is None:
        _refuse_unknown(settings.values, [], "-v", None)
        return [Cell(axes={}, values=(), variables=None)]
    given = _given(cls, settings)
    axes = {name: list(values) for name, values in matrix.items() if name not in given}
    for name in matrix.keys() & given.keys():  # a list in a variable file replaces the axis by another axis
        value, origin = given[name]
        if isinstance(value, list) and get_origin(_hints(cls)[name]) not in (list, tuple):
            axes[name] = [_convert(cls, name, item, origin) for item in value]
            del given[name]
    axes = {name: axes[name] for name in matrix if name in axes}
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [_cell(cls, combination, given, folder, settings.environ) for combination in combinations]


def _given(cls: type, settings: Settings) -> dict[str, tuple[Any, str]]:
    """All that is said outside the imagefile: name to (value, origin); later ones win."""
    names = [f.name for f in dataclasses.fields(cls)]
    given: dict[str, tuple[Any, str]] = {}
    for file in settings.files:
        values = read_file(file)
        _refuse_unknown(values, names, str(file), cls)
        given.update({name: (value, str(file)) for name, value in values.items()})
    for name in names:
        text = settings.environ.get(PREFIX + name.upper(), settings.environ.get(PREFIX + name))
        if text is not None:
            given[name] = (text, f"environment {PREFIX}{name.upper()}")
    _refuse_unknown(settings.values, names, "-v", cls)
    for name, text in settings.values.items():
        if _is_secret(cls, name):
            raise UsageError(
                f"the secret {name} was given with -v",
                why="a command line can be read by every user of this host",
                hint=_secret_hint(name, _field(cls, name)),
            )
        given[name] = (text, "-v")
    return given


def _refuse_unknown(values: Iterable[str], known: list[str], origin: str, cls: type | None) -> None:
    for name in values:
        if name in known:
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"variables are: {', '.join(known) or 'none'}"
        raise ImagefileError(
            f"unknown variable {name!r} ({origin})", hint=hint, where=location_of(cls) if cls else None
        )


def read_file(file: Path) -> dict[str, Any]:
    """Read a variable file by its ending: TOML, JSON or YAML.

    Raises:
        UsageError: not there, another ending, or not a table of names.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the variable file {file}", why=error.strerror or str(error)) from error
    values = _parsed(file, text)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{file} holds no table of names and values")
    return values


def _parsed(file: Path, text: str) -> Any:
    import yaml

    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".json": json.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    if file.suffix not in readers:
        raise UsageError(f"{file}: a variable file ends in .toml, .json, .yaml or .yml")
    try:
        return readers[file.suffix](text) or {}
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} is not valid {file.suffix[1:].upper()}", why=str(error)) from error


def _cell(
    cls: type, axes: Mapping[str, Any], given: Mapping[str, tuple[Any, str]], folder: Path, environ: Mapping[str, str]
) -> Cell:
    shown: list[Value] = []
    values: dict[str, Any] = {}
    for described in dataclasses.fields(cls):
        name = described.name
        if described.metadata.get("secret") or _hints(cls)[name] is Secret:
            values[name], value = _secret(cls, described, given, folder, environ)
        else:
            values[name], origin = _plain(cls, described, axes, given)
            value = Value(name=name, value=_shown(values[name]), origin=origin)
        shown.append(value)
    typed_axes = {name: values[name] for name in axes}
    return Cell(axes=typed_axes, values=tuple(shown), variables=cls(**values))


def _plain(
    cls: type, described: dataclasses.Field[Any], axes: Mapping[str, Any], given: Mapping[str, tuple[Any, str]]
) -> tuple[Any, str]:
    name = described.name
    if name in given:
        value, origin = given[name]
    elif name in axes:
        value, origin = axes[name], "matrix"
    elif described.default is not dataclasses.MISSING:
        value, origin = described.default, "default"
    elif described.default_factory is not dataclasses.MISSING:
        value, origin = described.default_factory(), "default"
    else:
        raise ImagefileError(
            f"variable {name} has no value",
            where=_where(cls, name),
            hint=f"give it a default, or say -v {name}=VALUE or {PREFIX}{name.upper()}=VALUE",
        )
    value = _convert(cls, name, value, origin)
    choices = described.metadata.get("choices")
    if choices and value not in choices:
        raise ImagefileError(
            f"variable {name} is {value!r} ({origin}), not one of: {', '.join(map(str, choices))}",
            where=_where(cls, name),
        )
    return value, origin


def _secret(
    cls: type,
    described: dataclasses.Field[Any],
    given: Mapping[str, tuple[Any, str]],
    folder: Path,
    environ: Mapping[str, str],
) -> tuple[Any, Value]:
    name, env, file = described.name, described.metadata.get("env"), described.metadata.get("file")
    if name in given:
        text, origin = str(given[name][0]), given[name][1]
    elif env and environ.get(env):
        text, origin = environ[env], f"environment {env}"
    elif file and (folder / file).is_file():
        text, origin = (folder / file).read_text(encoding="utf-8").rstrip("\n"), file
    else:
        error = ImagefileError(
            f"the secret {name} is missing", where=_where(cls, name), hint=_secret_hint(name, described)
        )
        return MissingSecret(error), Value(name=name, value=None, origin="missing", secret=True, missing=True)
    return Secret(text, name=name), Value(name=name, value=None, origin=origin, secret=True)


def _secret_hint(name: str, described: dataclasses.Field[Any]) -> str:
    env, file = described.metadata.get("env"), described.metadata.get("file")
    places = [f"the environment variable {env}"] if env else []
    places += [f"the file {file}"] if file else []
    return f"put it into {' or '.join(places) or f'the environment variable {PREFIX}{name.upper()}'}"


def _field(cls: type, name: str) -> dataclasses.Field[Any]:
    return next(f for f in dataclasses.fields(cls) if f.name == name)


def _is_secret(cls: type, name: str) -> bool:
    return bool(_field(cls, name).metadata.get("secret")) or _hints(cls)[name] is Secret


def _hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except NameError as error:
        raise ImagefileError(f"a variable's type is unknown: {error}", where=location_of(cls)) from error


def _where(cls: type, name: str) -> Location:
    """The line of one field, so that the message points at it."""
    start = location_of(cls)
    try:
        lines = start.file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return start
    for number in range(start.line, len(lines) + 1):
        if lines[number - 1].strip().startswith((f"{name}:", f"{name} :")):
            return Location(start.file, number)
    return start


def _shown(value: Any) -> Any:
    match value:
        case Path():
            return str(value)
        case Enum():
            return value.value
        case tuple() | list() | set() | frozenset():
            return [_shown(item) for item in value]
        case _:
            return value


def _convert(cls: type, name: str, value: Any, origin: str) -> Any:
    wanted = _hints(cls)[name]
    try:
        return convert(value, wanted)
    except (ValueError, TypeError) as error:
        shown = getattr(wanted, "__name__", str(wanted))
        raise ImagefileError(
            f"variable {name} is {value!r} ({origin}), which is not {shown}",
            why=str(error),
            where=_where(cls, name),
            hint=f"give it another value, or annotate it with what it is: {name}: {type(value).__name__}",
        ) from error


TRUE, FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def convert(value: Any, wanted: Any) -> Any:
    """Turn a value, often text, into the annotated type.

    Raises:
        ValueError: it cannot be, with the reason.
    """
    origin, args = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if value is None or (value in ("", "none") and NONE in args):
            return None if NONE in args else convert(value, args[0])
        return convert(value, next(arg for arg in args if arg is not NONE))
    if origin is Literal:
        for choice in args:
            if value == choice or str(choice) == value:
                return choice
        raise ValueError(f"allowed are: {', '.join(map(str, args))}")
    if origin in (list, tuple, set, frozenset):
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple, set, frozenset)):
            raise ValueError("a list is wanted")
        return origin(
            convert(item.strip() if isinstance(item, str) else item, args[0] if args else str) for item in items
        )
    if wanted in (Any, dict) or origin is dict or not isinstance(wanted, type):
        return value
    return _scalar(value, wanted)


def _scalar(value: Any, wanted: type) -> Any:
    if wanted is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in TRUE | FALSE:
            return str(value).lower() in TRUE
        raise ValueError("true or false is wanted")
    if wanted in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, float, str))):
        raise ValueError("a number is wanted")
    if wanted is int and isinstance(value, float):
        raise ValueError("a whole number is wanted")
    if wanted is str and not isinstance(value, str):
        raise ValueError(f"text is wanted, and this is {type(value).__name__}; put it in quotes")
    return value if type(value) is wanted else wanted(value)
