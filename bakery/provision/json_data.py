"""What users give to tools as data: of JSON's types, secrets among it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bakery.redaction.secret import Secret


def plain(value: Any) -> Any:
    """Return JSON data with secrets as text.

    Raises:
        TypeError: something has no form in JSON.
    """
    match value:
        case Secret():
            return value.reveal()
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case str() | int() | float() | bool() | None:
            return value
        case Path():
            return str(value)
        case Sequence():
            return [plain(one) for one in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def secret_json(value: Mapping[str, Any]) -> Secret | str:
    """Return data as a text that is kept out of logs; what is empty needs no such care.

    Raises:
        TypeError: something has no form in JSON.
    """
    return Secret(json.dumps(plain(value))) if value else "{}"
