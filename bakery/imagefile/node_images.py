"""Images whose machines run beside the one that is tested: `@bakery.image(nodes=[db])`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bakery.errors import ImagefileError
from bakery.imagefile.base_images import made_by
from bakery.imagefile.builds import Build
from bakery.imagefile.marks import Function, mark_of, name_of
from bakery.imagefile.recipe import ImageSpec, Recipe
from bakery.imagefile.user_code import repr_of

NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
"""What a machine can be called on a network; hosts(5), with the underscores of Python's names."""
HINT: Final = 'nodes=[db], or by other names: nodes={"primary": db, "replica": db}'


def named_images(spec: ImageSpec) -> Mapping[str, Function]:
    """Return the images that an image is tested beside, by the names of their machines.

    Raises:
        ImagefileError: `nodes=` holds something else, or a name that a machine cannot have.
    """
    given: Any = spec.options.get("nodes") or ()
    if isinstance(given, Mapping):
        named = [*given.items()]
    elif isinstance(given, Sequence) and not isinstance(given, str):
        named = [(name_of(member) if callable(member) else "", member) for member in given]
    else:
        raise ImagefileError(f"nodes= of image {spec.name} is {repr_of(given)}", hint=HINT, where=spec.where)
    for name, member in named:
        mark = mark_of(member)
        if mark is None or mark.kind != "image":
            shown = name_of(member) if callable(member) else repr_of(member)
            raise ImagefileError(
                f"nodes= of image {spec.name} holds {shown}, which is no image", hint=HINT, where=spec.where
            )
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ImagefileError(
                f"nodes= of image {spec.name} has the name {repr_of(name)}",
                hint="letters, digits, dashes and underscores, at most 63",
                where=spec.where,
            )
    names = [name for name, _ in named]
    if twice := sorted({name for name in (*names, spec.name) if [*names, spec.name].count(name) > 1}):
        raise ImagefileError(
            f"two machines of image {spec.name} have one name: {', '.join(twice)}",
            why=f"{spec.name} is the machine under test",
            hint=HINT,
            where=spec.where,
        )
    return dict(named)


def nodes_of(build: Build, builds: Sequence[Build], recipe: Recipe) -> Mapping[str, str]:
    """Return the builds that make the images which a build is tested beside, by the names of their machines.

    Args:
        build: the one that is tested.
        builds: all of the imagefile.
        recipe: the imagefile.

    Raises:
        ImagefileError: there is none that fits, or more than one.
    """
    named = named_images(recipe.image(build.spec))
    if not build.boot.takes_nodes:
        return {}
    return {name: made_by(build, function, builds, recipe, "is tested beside").name for name, function in named.items()}
