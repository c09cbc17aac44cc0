"""Images of one name that two imagefiles of one folder make: the later would retire the earlier."""

from __future__ import annotations

from collections.abc import Iterator

from bakery.build.context import RunContext
from bakery.imagefile.base_images import LOCAL
from bakery.imagefile.builds import Build
from bakery.model import Problem
from bakery.state.versions import FAMILY


def made_elsewhere(run: RunContext, build: Build) -> Iterator[Problem]:
    """Find an image of another imagefile in this folder that a new one would take the place of.

    Args:
        run: the run.
        build: what is to be made.
    """
    folder, own = run.imagefile.parent, run.imagefile.name
    for image in run.state.images():
        other = image.data.get("imagefile", own)
        same_place = image.build.rpartition("@")[2] == build.source or image.driver == build.driver not in LOCAL
        if (
            image.data.get(FAMILY, image.name) == build.image
            and same_place
            and other != own
            and (folder / other).is_file()
        ):
            yield Problem(
                what=f"{other} in this folder has made an image {build.image}, and this one would take its place",
                hint='give one of the two another name, with @bakery.image(name="..."), or move it to another folder',
            )
            return
