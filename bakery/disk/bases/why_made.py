"""Why a base is made although the cache may hold others: said once, before the minutes that it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bakery.util.files import write_whole

RECIPE: Final = "recipe.json"
"""Beside a base's generations: all that decided its content."""

_DIGEST: Final = re.compile(r"-[0-9a-f]{16}(-for-[0-9a-f]+)?$")


def note(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Write down what decided the content of the bases in a folder."""
    write_whole(folder / RECIPE, json.dumps(dict(recipe)))


def why_none(folder: Path, recipe: Mapping[str, Any]) -> str:
    """Say why a folder has no base yet: what the newest other one of that name was made of, or that there is none.

    Args:
        folder: the recipe's own folder in the cache, `debian-bookworm-DIGEST`.
        recipe: what decides its content; the user's own words end with `=`.
    """
    kind = _DIGEST.sub("", folder.name)
    others = [path for path in folder.parent.glob(f"{kind}-*") if path != folder and (path / "current").is_file()]
    if not others:
        return "there is none in the cache yet"
    newest = max(others, key=lambda path: (path / "current").stat().st_mtime)
    return f"the one in the cache {_difference(_read(newest), json.loads(json.dumps(dict(recipe))))}"


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    if not theirs:
        return "was made by another version of bakery"
    said = [name for name in ours if name.endswith("=") and theirs.get(name) != ours[name]]
    if said:
        return f"has {', '.join(f'{name}{theirs.get(name)!r}, not {ours[name]!r}' for name in said)}"
    if theirs != ours:
        return "was made by another version of bakery"
    return "was made by another user, whose ids its files have"


def _read(folder: Path) -> Mapping[str, Any]:
    try:
        known = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
