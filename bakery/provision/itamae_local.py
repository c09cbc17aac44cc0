"""Itamae: recipes of this host, applied on the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bakery.machine.access import access
from bakery.provision.borrowed import borrowed
from bakery.provision.items import Applied, announce, require, settle
from bakery.provision.json_data import secret_json
from bakery.provision.resource_events import RUBY, read_events
from bakery.provision.uploads import Uploads, uploads

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

PathLike: TypeAlias = "str | os.PathLike[str]"
PACKAGE: Final = "itamae"
LAUNCHER: Final = RUBY / "itamae_local.rb"


def itamae(
    m: Machine,
    recipes: PathLike | Sequence[PathLike],
    *,
    tree: PathLike | None = None,
    node: Mapping[str, Any] | None = None,
    install: Sequence[str] = (PACKAGE,),
    keep: bool = False,
    dry_run: bool = False,
    timeout: float | None = None,
) -> Applied:
    """Apply Itamae's recipes of this host on the machine.

    Paths are relative to the imagefile's folder. All goes to a folder of the machine that is removed afterwards.

    Args:
        m: the machine.
        recipes: the recipe, or several, in order.
        tree: the folder that has the recipes, their files and templates, and what they include; the first recipe's own
            when None.
        node: attributes, of JSON's types, that recipes find in `node`; a `Secret` in them is in no argument.
        install: packages that are installed for the time of the run where they are missing.
        keep: True leaves these packages on the machine.
        dry_run: True changes nothing; what would be changed is told.
        timeout: seconds.

    Raises:
        TaskError: a resource failed, or a recipe cannot be read; has the recipe's file and line. Nothing was run.
    """
    inside = access(m)
    each = [recipes] if isinstance(recipes, str | os.PathLike) else list(recipes)
    require(each, "itamae needs a recipe")
    paths = [Path(os.path.abspath(inside.folder / recipe)) for recipe in each]  # noqa: PTH100  resolve() would follow links
    root = m.with_defaults(user="root")
    folder = Path(os.path.abspath(inside.folder / tree)) if tree is not None else paths[0].parent  # noqa: PTH100  the same
    for path in paths:
        require(path.is_file(), f"there is no recipe {path}")
        require(path.is_relative_to(folder), f"the recipe {path} is not in {folder}", hint="tree= names its folder")
    with borrowed(m, install, keep=keep), uploads(m, inside, "itamae") as sent:
        there = sent.send(folder, "recipes")
        wish = _write_wish(root, sent, [f"{there}/{path.relative_to(folder)}" for path in paths], node, dry_run=dry_run)
        sent.begin_trace()
        done = root.run(["ruby", f"{sent.folder}/own/{LAUNCHER.name}", wish], warn=True, timeout=timeout)
        sent.note_inputs()
        told = read_events(root.run(f"cat {sent.folder}/own/events", warn=True, hide=True).stdout, sent)
        for item in told.items:
            announce(inside, "itamae", item)
        if (error := told.failure("itamae", done)) is not None:
            raise error
    return settle(inside, "itamae", told.items)


def _write_wish(
    root: Machine, sent: Uploads, recipes: Sequence[str], node: Mapping[str, Any] | None, *, dry_run: bool
) -> str:
    """Write our program and what it is to do; return the path of the latter."""
    own = f"{sent.folder}/own"
    root.run(["mkdir", "-p", f"{own}/scratch"], hide=True)
    root.run(["chmod", "711", sent.folder, own], hide=True)  # a resource's `user` has its files below it
    root.write(f"{own}/{LAUNCHER.name}", LAUNCHER.read_bytes())
    root.write(f"{own}/node.json", secret_json(node or {}), mode=0o600)
    wish = {
        "events": f"{own}/events",
        "recipes": list(recipes),
        "node": f"{own}/node.json",
        "scratch": f"{own}/scratch",
        "dry_run": dry_run,
    }
    root.write(f"{own}/wish.json", json.dumps(wish))
    return f"{own}/wish.json"
