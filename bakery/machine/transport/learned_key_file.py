"""Where a host key that a machine was seen to have is kept, and what tells `learned_key` to learn it.

Apart from it, as a driver needs no SSH library before its machine starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HOLDER: Final = "holder"
FILE: Final = "learned"
PROVING: Final = "proving"


def learning(holder: int, file: Path) -> Mapping[str, Any]:
    """Return the data of an endpoint whose host key is not known yet.

    Args:
        holder: the process of ours that holds the endpoint's port on loopback.
        file: where the key is written once it was seen; nothing is learned where it exists.
    """
    return {HOLDER: holder, FILE: str(file)}


def proving(file: Path) -> Mapping[str, Any]:
    """Return the data of an endpoint whose host key is not known yet, and which proves what it is.

    Args:
        file: where the key is written once it was proven; after that no other is taken.
    """
    return {PROVING: True, FILE: str(file)}


def learned(file: Path) -> str:
    """Return the key that was seen, as in known_hosts; empty where none was."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
