"""Which build stands on which: bases that are made by other builds of the same imagefile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bakery.errors import ImagefileError
from bakery.imagefile.builds import Build
from bakery.imagefile.marks import Function, location_of, mark_of, name_of
from bakery.imagefile.recipe import ImageSpec, Recipe
from bakery.model import Source

LOCAL = frozenset({"qemu", "nspawn"})  # their images are the same files


def stands_on(build: Build, builds: Sequence[Build], recipe: Recipe) -> Build | None:
    """Return the build that makes another one's base; None where no build does.

    Args:
        build: the one whose base is wanted.
        builds: all of the imagefile.
        recipe: the imagefile.

    Raises:
        ImagefileError: there is none that fits, or more than one.
    """
    base = build.boot.base
    mark = mark_of(base)
    if build.publishes and (mark is None or mark.kind == "source"):
        return _published(build, build.boot, builds, recipe.image(build.spec))
    if mark is None:
        return None
    if mark.kind != "image":
        where = _source_of(build, recipe.image(build.spec))
        raise ImagefileError(f"the base of {build.source} is a {mark.kind}, not an image", where=location_of(where))
    return made_by(build, base, builds, recipe, "stands on")


def refuse_further_disks(build: Build, linked: Mapping[str, Build], recipe: Recipe) -> None:
    """Refuse to take an image of several disks to where only its first one would arrive.

    Args:
        build: one that stands on another.
        linked: all builds, each with those that it stands on.
        recipe: the imagefile.

    Raises:
        ImagefileError: it would lose disks.
    """
    one = build.publishes or build.driver != "qemu"
    if one and (lost := next((name for name in build.after if has_further_disks(linked[name], linked)), "")):
        verb = "publishes" if build.publishes else "builds on"
        raise ImagefileError(
            f"{build.name} {verb} {lost}, an image of several disks, and {type(build.boot).__name__} takes the first",
            where=location_of(_source_of(build, recipe.image(build.spec))),
            hint="put what is to go along into partitions of the first one: disk=Disk(SIZE, layout=[...])",
        )


def has_further_disks(build: Build, linked: Mapping[str, Build], above: tuple[str, ...] = ()) -> bool:
    """Say whether an image has files beside its first disk's, of its own or of what it stands on."""
    if build.driver != "qemu" or build.publishes or build.name in above:  # the last is a ring, refused elsewhere
        return False
    below = (linked[name] for name in build.after)
    own = bool(getattr(build.boot, "disks", ()))
    return own or any(has_further_disks(other, linked, (*above, build.name)) for other in below)


def _source_of(build: Build, spec: ImageSpec) -> Function:
    return next(function for function in spec.sources if name_of(function) == build.source)


def made_by(build: Build, image: Function, builds: Sequence[Build], recipe: Recipe, needs: str) -> Build:
    """Return the build of an image that another build needs: of the same matrix values, source and driver.

    Args:
        build: the one that needs it.
        image: the image's function.
        builds: all of the imagefile.
        recipe: the imagefile.
        needs: what for, as a sentence says it: `stands on`.

    Raises:
        ImagefileError: there is none that fits, or more than one.
    """
    candidates = [b for b in builds if recipe.image(b.spec).function is image]
    if not candidates:
        raise ImagefileError(
            f"{build.name} {needs} {name_of(image)}, which is no image of this imagefile", where=location_of(image)
        )
    if build.publishes:
        candidates = _readable(candidates, build.boot)
    candidates = _narrow(candidates, lambda b: all(build.axes.get(axis, of_b) == of_b for axis, of_b in b.axes.items()))
    candidates = _narrow(candidates, lambda b: b.driver == build.driver or {b.driver, build.driver} <= LOCAL)
    if any(b.source == build.source for b in candidates):
        candidates = _narrow(candidates, lambda b: b.source == build.source)
    if any(b.driver == build.driver for b in candidates):
        candidates = _narrow(candidates, lambda b: b.driver == build.driver)
    if len(candidates) != 1:
        names = ", ".join(b.name for b in candidates) or "none"
        raise ImagefileError(
            f"{build.name} {needs} {name_of(image)}, of which more than one build would do: {names}",
            where=location_of(image),
            hint="give both images the same matrix axes, or build the other from one source of this driver",
        )
    return candidates[0]


def _published(build: Build, boot: Source, builds: Sequence[Build], spec: ImageSpec) -> Build:
    """Return the build of the same image, and of the same values, whose disk is published."""
    where = location_of(_source_of(build, spec))
    if boot.base is not None and boot.base not in spec.sources:
        name = name_of(boot.base)
        raise ImagefileError(
            f"{build.source} publishes what {name} makes, which is no source of image {spec.name}",
            where=where,
            hint=f"list it: @bakery.image(sources=[{name}, {build.source}])",
        )
    family = [b for b in builds if b.spec == build.spec and b.axes == build.axes]
    if boot.base is not None:
        family = [b for b in family if b.source == name_of(boot.base)]
    candidates = _readable(family, boot)
    if len(candidates) == 1:
        return candidates[0]
    takes = " or ".join(sorted(boot.takes))
    if not candidates:
        others = ", ".join(f"{b.source} ({b.driver})" for b in family if not b.publishes) or "none"
        raise ImagefileError(
            f"{build.source} has no image to publish: none of image {spec.name} is made with {takes}",
            where=where,
            why=f"sources: {others}",
            hint="add a source that builds on this host",
        )
    raise ImagefileError(
        f"{build.source} can publish what {' or '.join(b.source for b in candidates)} makes",
        where=where,
        hint=f"say which: base={candidates[0].source}",
    )


def _readable(builds: Sequence[Build], boot: Source) -> list[Build]:
    return [build for build in builds if not build.publishes and build.driver in boot.takes]


def _narrow(candidates: list[Build], keep: Callable[[Build], bool]) -> list[Build]:
    return [build for build in candidates if keep(build)] if len(candidates) > 1 else candidates
