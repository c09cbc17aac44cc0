"""Giving every variable its value, and remembering where it came from.

Low to high: class default, matrix, variable files in order, environment `BAKE_VAR_NAME`, `-v NAME=VALUE`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any, get_origin

from bakery.errors import ImagefileError, UsageError
from bakery.imagefile.conversion import shown
from bakery.imagefile.marks import location_of
from bakery.imagefile.user_code import repr_of, text_of
from bakery.imagefile.variable_class import default_of, field_location, hints_of, is_secret, of_class, typed
from bakery.redaction.secret import Secret
from bakery.util.suggestions import did_you_mean

PREFIX = "BAKE_VAR_"


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
    settled = _said_outside(cls, settings)
    axes = {name: list(values) for name, values in matrix.items() if name not in settled}
    for name in matrix.keys() & settled.keys():  # a list in a variable file replaces the axis by another axis
        value, origin = settled[name]
        if isinstance(value, list) and not _is_list(hints_of(cls)[name]):
            axes[name] = [typed(cls, name, item, origin) for item in value]
            del settled[name]
    axes = {name: axes[name] for name in matrix if name in axes}
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [_cell(cls, combination, settled, folder, settings.environ) for combination in combinations]


def _is_list(wanted: Any) -> bool:
    return (get_origin(wanted) or wanted) in (list, tuple, set, frozenset)


def said_outside(cls: type, settings: Settings) -> dict[str, Any]:
    """Return what is said outside the imagefile, but for secrets: names and values, as they were written."""
    secret = {f.name for f in dataclasses.fields(cls) if is_secret(cls, f)}
    return {name: value for name, (value, _) in _said_outside(cls, settings).items() if name not in secret}


def secret_place(cls: type, name: str) -> tuple[str, str]:
    """Return the environment variable and the file that a secret is read from; empty for what it has none of."""
    metadata = _field(cls, name).metadata
    return metadata.get("env") or "", metadata.get("file") or ""


def _said_outside(cls: type, settings: Settings) -> dict[str, tuple[Any, str]]:
    """Return all that is said outside the imagefile: name to (value, origin); later ones win."""
    names = [f.name for f in dataclasses.fields(cls)]
    settled: dict[str, tuple[Any, str]] = {}
    for file in settings.files:
        values = read_file(file)
        _refuse_unknown(values, names, str(file), cls)
        settled.update({name: (value, str(file)) for name, value in values.items()})
    for name in names:
        text = settings.environ.get(PREFIX + name.upper(), settings.environ.get(PREFIX + name))
        if text is not None:
            settled[name] = (text, f"environment {PREFIX}{name.upper()}")
    _refuse_unknown(settings.values, names, "-v", cls)
    for name, text in settings.values.items():
        if is_secret(cls, _field(cls, name)):
            raise UsageError(
                f"the secret {name} was given with -v",
                why="a command line can be read by every user of this host",
                hint=_secret_hint(name, _field(cls, name)),
            )
        settled[name] = (text, "-v")
    return settled


def _refuse_unknown(values: Iterable[str], known: list[str], origin: str, cls: type | None) -> None:
    for name in values:
        if name in known:
            continue
        hint = did_you_mean(name, known, otherwise="variables are")
        raise ImagefileError(
            f"unknown variable {name!r} ({origin})", hint=hint, where=location_of(cls) if cls else None
        )


def read_file(file: Path) -> dict[str, Any]:
    """Read a variable file by its ending: TOML, JSON or YAML.

    Raises:
        UsageError: not there, another ending, or not a table of names.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the variable file {file}", why=error.strerror or str(error)) from error
    values = _parsed(file, content)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{file} holds no table of names and values")
    return values


def _parsed(file: Path, content: bytes) -> Any:
    """Parse a file's content; a mark of the byte order, as editors on Windows write it, is none of it."""
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
        return readers[file.suffix](content.decode("utf-8-sig")) or {}
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # PyYAML raises the first for a date that is none
        raise UsageError(f"{file} is not valid {file.suffix[1:].upper()}", why=str(error)) from error


def _cell(
    cls: type, axes: Mapping[str, Any], settled: Mapping[str, tuple[Any, str]], folder: Path, environ: Mapping[str, str]
) -> Cell:
    shown_values: list[Value] = []
    values: dict[str, Any] = {}
    for described in dataclasses.fields(cls):
        name = described.name
        if is_secret(cls, described):
            values[name], value = _secret(cls, described, settled, folder, environ)
        else:
            values[name], origin = _plain(cls, described, axes, settled)
            value = Value(name=name, value=shown(values[name]), origin=origin)
        shown_values.append(value)
    variables = of_class(cls, f"{cls.__name__}, the class of variables,", lambda: cls(**values))
    return Cell(axes={name: _label(values[name]) for name in axes}, values=tuple(shown_values), variables=variables)


def own_copy(variables: Any) -> Any:
    """Return an object of the same values whose lists and mappings are its own: who changes one changes no other's.

    Args:
        variables: the variables' object; None where the imagefile has none.
    """
    if variables is None:
        return None
    copied = copy.copy(variables)
    for described in dataclasses.fields(copied):
        value = getattr(copied, described.name)
        if not isinstance(value, MissingSecret):
            object.__setattr__(copied, described.name, copy.deepcopy(value))  # the class is frozen
    return copied


def _label(value: Any) -> Any:
    """Return an axis' value as the plan has it: data of the model as it is."""
    return value if isinstance(value, Path | Enum) else shown(value)


def _plain(
    cls: type, described: dataclasses.Field[Any], axes: Mapping[str, Any], settled: Mapping[str, tuple[Any, str]]
) -> tuple[Any, str]:
    name = described.name
    if name in settled:
        value, origin = settled[name]
    elif name in axes:
        value, origin = axes[name], "matrix"
    elif (value := default_of(cls, described)) is not dataclasses.MISSING:
        origin = "default"
    else:
        raise ImagefileError(
            f"variable {name} has no value",
            where=field_location(cls, name),
            hint=f"give it a default, or say -v {name}=VALUE or {PREFIX}{name.upper()}=VALUE",
        )
    value = typed(cls, name, value, origin)
    choices = described.metadata.get("choices")
    if choices and value not in [typed(cls, name, choice, "choice") for choice in choices]:
        raise ImagefileError(
            f"variable {name} is {repr_of(value)} ({origin}), not one of: {', '.join(map(text_of, choices))}",
            where=field_location(cls, name),
        )
    return value, origin


def _secret(
    cls: type,
    described: dataclasses.Field[Any],
    settled: Mapping[str, tuple[Any, str]],
    folder: Path,
    environ: Mapping[str, str],
) -> tuple[Any, Value]:
    name, env, file = described.name, described.metadata.get("env"), described.metadata.get("file")
    if name in settled:
        text, origin = str(settled[name][0]), settled[name][1]
    elif env and environ.get(env):
        text, origin = environ[env], f"environment {env}"
    elif file and (folder / file).is_file():
        text, origin = (folder / file).read_text(encoding="utf-8").rstrip("\n"), file
    else:
        error = ImagefileError(
            f"the secret {name} is missing", where=field_location(cls, name), hint=_secret_hint(name, described)
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
