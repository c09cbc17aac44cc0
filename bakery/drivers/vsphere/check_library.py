"""Pre-flight of images that become items of a content library: the library, and the name."""

from __future__ import annotations

from collections.abc import Iterator

from bakery.drivers.vsphere.api import libraries
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.image import keep_item
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import BakeryError
from bakery.model import Problem


def check(center: VCenter, source: VSphere) -> Iterator[Problem]:
    """Look whether the library that the image goes to is there, and takes items.

    Raises:
        BakeryError: it is not there.
    """
    if source.library is None:
        return
    library = libraries.find_library(center, source.library)
    if not libraries.is_local(center, library):
        yield Problem(
            what=f"the content library {source.library} is subscribed to another one",
            why="it has that one's items, and takes none",
            hint="library=... names a local library",
        )


def name_conflicts(center: VCenter, source: VSphere, name: str) -> Iterator[Problem]:
    """Say whether an item that is not an older image of ours has the name."""
    try:
        library = libraries.find_library(center, str(source.library))
        list(keep_item.holders(center, library, name, ""))
    except keep_item.NameTakenError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint)
    except BakeryError:  # which `check` says
        return
