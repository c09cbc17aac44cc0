"""What travels to a worker: one build, as data. No secret is in it, since the scheduler holds it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bakery import errors
from bakery.build.context import BuildOptions
from bakery.errors import BakeryError, Location
from bakery.model import Json, from_json, to_json

OPTIONS: Final = ("cache", "test", "offline", "expire", "connect_timeout", "clones")
"""The run's options that a worker needs as they are; all others are the client's business."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One build for a worker.

    Args:
        run: the client's run.
        build: the build's name.
        project: digest of the packed project folder.
        imagefile: the imagefile's name in it.
        values: variables that were said outside the imagefile, but for secrets.
        secrets: names of the secrets that the client sends on its own way, once the worker asks.
        image: the name that the image will have, as far as it is known.
        base: the image that the build stands on, where another build made it.
        base_file: digest of that image's file; empty where it is none.
        base_digest: what names a base that is no image; see `bakery.build.cluster.placement`.
        options: how to run.
        lease: seconds without a word of the client after which the worker gives up.
    """

    run: str
    build: str
    project: str
    imagefile: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: tuple[str, ...] = ()
    image: str = ""
    base: Mapping[str, Any] | None = None
    base_file: str = ""
    base_digest: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lease: float = 60.0

    def to_json(self) -> Json:
        """Return it as JSON values."""
        return to_json(self)

    @classmethod
    def from_json(cls, data: Any) -> Assignment:
        """Read what `to_json` made."""
        return from_json(cls, data)


def packed_options(options: BuildOptions) -> dict[str, Any]:
    """Return the options that a worker needs."""
    plain = {name: getattr(options, name) for name in OPTIONS}
    return {**plain, "refresh": sorted(options.refresh), "phase_timeouts": dict(options.phase_timeouts)}


def unpacked_options(data: Mapping[str, Any]) -> BuildOptions:
    """Return a worker's options."""
    words: dict[str, Any] = {**data, "refresh": frozenset(data["refresh"])}
    return BuildOptions(**words)


# ---- errors --------------------------------------------------------------------------------------------------------


def packed_error(error: BakeryError) -> dict[str, Any]:
    """Return an error as JSON values, to be raised again elsewhere."""
    where = error.where and {"file": str(error.where.file), "line": error.where.line}
    parts = {"what": error.what, "why": error.why, "hint": error.hint, "where": where}
    return {"kind": type(error).__name__, "exit_code": error.exit_code, **parts}


def unpacked_error(data: Mapping[str, Any]) -> BakeryError:
    """Return the error that `packed_error` wrote; of its family where the class is not known here."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BakeryError)]
    named = [kind for kind in kinds if kind.__name__ == data["kind"]]
    family = [kind for kind in kinds if kind.exit_code == data["exit_code"]]
    kind = (named or family or [BakeryError])[0]
    where = data["where"] and Location(Path(data["where"]["file"]), int(data["where"]["line"]))
    error = kind.__new__(kind)  # some want more than what is told here
    BakeryError.__init__(error, data["what"], why=data["why"], hint=data["hint"], where=where)
    return error
