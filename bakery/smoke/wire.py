"""A job on its way to the child process: one line of JSON through a pipe, never argv, environment or a file."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from bakery.errors import ImagefileError
from bakery.imagefile.conversion import convert, from_plain, to_plain
from bakery.model import from_json, to_json
from bakery.redaction.secret import Secret
from bakery.smoke.job import SmokeJob

_TAG: Final = "__secret__"


def dump(job: SmokeJob) -> bytes:
    """Return the job as a line of JSON, secrets included.

    Raises:
        ImagefileError: a variable's value cannot be sent.
    """
    values = None if job.variables is None else {f.name: getattr(job.variables, f.name) for f in _fields(job.variables)}
    data = {
        "imagefile": str(job.imagefile),
        "tests": [{**dataclasses.asdict(test), "file": str(test.file)} for test in job.tests],
        "builtin": sorted(job.builtin),
        "endpoint": dataclasses.asdict(job.endpoint),
        "keys": dataclasses.asdict(job.keys),
        "variables": values and {name: _plain(name, value) for name, value in values.items()},
        "secrets": {**dict(job.secrets), **_secrets(values or {}), **_credentials(job)},
        "builder": job.builder and job.builder.to_wire(),
        "junit": str(job.junit),
        "timeout": job.timeout,
        "build": job.build,
        "strict_host": job.strict_host,
        "before": job.before and {**dataclasses.asdict(job.before), "identity": job.before.identity.to_wire()},
        "clones": [dataclasses.asdict(clone) for clone in job.clones],
        "name": job.name,
        "nodes": {name: dataclasses.asdict(node) for name, node in job.nodes.items()},
        "absent": job.absent,
        "suite": None if job.suite is None else to_json(job.suite),
    }
    return json.dumps(data).encode() + b"\n"


def load(line: bytes) -> SmokeJob:
    """Read what `dump` returned; `variables` holds plain data until `rebuild` has the class for them."""
    return from_json(SmokeJob, json.loads(line))


def rebuild(cls: type | None, data: Mapping[str, Any] | None) -> Any:
    """Make the object that tests get as `v` out of what was sent.

    Args:
        cls: the imagefile's class of variables.
        data: its values, as `load` returned them.
    """
    if cls is None or data is None:
        return None
    hints = typing.get_type_hints(cls)
    values = {name: _typed(value, hints.get(name, Any)) for name, value in data.items()}
    made = cls(**values)
    for name, value in values.items():  # its __post_init__ has changed them already, when the build began
        object.__setattr__(made, name, value)
    return made


def _credentials(job: SmokeJob) -> dict[str, str]:
    """Return the passwords of a driver's own way to the machines; nothing that the tests print may have them."""
    endpoints = (job.endpoint, *(clone.endpoint for clone in job.clones))
    return {f"{name} password": text for endpoint in endpoints for name, text in endpoint.credentials.items()}


def _fields(variables: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(variables)


def _plain(name: str, value: Any) -> Any:
    match value:
        case Secret():
            return {_TAG: value.reveal(), "name": value.name}
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case tuple() | list() | set() | frozenset() if not hasattr(value, "_fields"):
            return [_plain(name, item) for item in value]
        case Mapping():
            return {str(key): _plain(name, item) for key, item in value.items()}
    try:
        return to_plain(value)
    except TypeError as error:
        raise ImagefileError(
            f"the variable {name} holds a {type(value).__name__}, which cannot be handed to the smoke tests",
            hint="use text, numbers, paths, enums, secrets, or lists and mappings of them",
        ) from error


def _typed(value: Any, wanted: Any) -> Any:
    revived = _revived(value)
    return revived if isinstance(revived, Secret) else convert(revived, wanted)


def _revived(value: Any) -> Any:
    """Turn what stands for a secret into one, at any depth."""
    match value:
        case {"__secret__": str(text), "name": str(name)}:
            return Secret(text, name)
        case {"__type__": _}:
            return from_plain(value)
        case dict():
            return {key: _revived(item) for key, item in value.items()}
        case list():
            return [_revived(item) for item in value]
    return value


def _secrets(values: Mapping[str, Any]) -> dict[str, str]:
    """Return all texts that the variables' secrets hold, with those derived from them."""
    texts: dict[str, str] = {}

    def learn(name: str, secret: Secret) -> None:
        if text := secret.reveal():
            texts[name if name not in texts else f"{name} ({len(texts)})"] = text

    for name, value in values.items():
        if isinstance(value, Secret):
            value.watch(lambda member, name=name: learn(name, member))  # type: ignore[misc]  # the default binds it early
    return texts
