"""What a host tells others of the steps inside a checkpoint that lives at a provider: enough to find it again.

A step's key is a digest of its pre-key (its code, its options, what it stands on) and of what it read. Another host
knows the pre-key from the imagefile, but what to look at only from a run. So a note names, for each step, what it read:
no content and no digest, and nothing in it is believed. Whoever reads it looks at the same things and computes the key.

Secrets and environment variables are digested with a key of each host's own, so steps that read them are found only
where they ran.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from bakery.cache.inputs.external import Kind
from bakery.cache.records import Record

VERSION: Final = 1
LARGEST: Final = 1 << 20
"""Characters of an unpacked note; more is none of ours."""


@dataclass(frozen=True, kw_only=True)
class Noted:
    """A step that ran somewhere.

    Args:
        prekey: of its code, its options and its parent.
        key: its key.
        made: seconds since the epoch.
        inputs: kind and name of each thing that it read.
    """

    prekey: str
    key: str
    made: float
    inputs: tuple[tuple[Kind, str], ...]


def write(records: Sequence[Record]) -> str:
    """Return a note of the steps up to a checkpoint, short and in ASCII; empty where one of them is not known well."""
    if not all(record.prekey for record in records):
        return ""
    steps = [
        [record.prekey, record.key, record.made, [[item.kind, item.name] for item in record.inputs]]
        for record in records
    ]
    text = json.dumps([VERSION, steps], separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def read(text: str) -> Iterator[Noted]:
    """Yield the steps of a note; none where it is damaged, or of another version."""
    try:
        version, steps = json.loads(_unpacked(text))
        if version == VERSION:
            yield from [_noted(*step) for step in steps]
    except (ValueError, TypeError, zlib.error):
        return  # a note is a hint: without it the steps run


def _unpacked(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(base64.b64decode(text, validate=True), LARGEST)
    if unpacker.unconsumed_tail:
        raise ValueError("too large")
    return unpacked


def _noted(prekey: Any, key: Any, made: Any, inputs: Any) -> Noted:
    pairs: tuple[tuple[Kind, str], ...] = tuple((cast("Kind", str(kind)), str(name)) for kind, name in inputs)
    if not {kind for kind, _ in pairs} <= set(get_args(Kind)):
        raise ValueError("a kind of input that this version does not know")
    return Noted(prekey=str(prekey), key=str(key), made=float(made), inputs=pairs)
