"""Content libraries: items by their names; a name that is not there is an error that lists what is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.api.rest import GONE, identified
from bakery.errors import PreflightError
from bakery.util.suggestions import nearest

LIBRARY, ITEM = "/com/vmware/content/library", "/com/vmware/content/library/item"
LOCAL = "/com/vmware/content/local-library"
MOST: Final = 20
"""Names that an error lists."""
OVF, TEMPLATE = "ovf", "vm-template"
FIND = {"~action": "find"}


@dataclass(frozen=True, kw_only=True)
class LibraryEntry:
    """An item of a content library.

    Args:
        id: its id.
        name: its name.
        kind: `ovf`, `vm-template`, `iso` and others.
        version: changes with its content; empty where the server does not say.
        size: bytes of its files, as far as the server says.
        description: what its owner wrote of it.
    """

    id: str
    name: str
    kind: str
    version: str
    size: int
    description: str = ""

    @property
    def key(self) -> str | None:
        """The key of its content; None where it may change unseen."""
        return f"{self.id} {self.version}" if self.version else None


def find_item(center: VCenter, library: str, item: str) -> LibraryEntry:
    """Return the item of a name in the library of a name.

    Args:
        center: where.
        library: the library's name.
        item: the item's.

    Raises:
        PreflightError: there is none, with those that there are; or there are several.
    """
    own = find_library(center, library)
    found = _only(
        center, f"item in the content library {library}", ITEM, {"name": item, "library_id": own}, {"library_id": own}
    )
    return _read(found, center.rest(f"describe the item {item}", "GET", identified(ITEM, found)), item)


def _read(own: str, data: Any, name: str = "") -> LibraryEntry:
    data = data or {}
    return LibraryEntry(
        id=own,
        name=str(data.get("name", name)),
        kind=str(data.get("type", "")),
        version=str(data.get("content_version") or data.get("last_modified_time") or ""),
        size=int(data.get("size") or 0),
        description=str(data.get("description") or ""),
    )


def find_library(center: VCenter, library: str) -> str:
    """Return the id of the library of a name.

    Raises:
        PreflightError: there is none, with those that there are; or there are several.
    """
    return _only(center, "content library", LIBRARY, {"name": library}, {})


def is_local(center: VCenter, library: str) -> bool:
    """Say whether a library has items of its own: a subscribed one has those of another.

    Args:
        center: where.
        library: its id.
    """
    data = center.rest("describe the content library", "GET", identified(LIBRARY, library)) or {}
    return str(data.get("type", "")).upper() == "LOCAL"


def local_libraries(center: VCenter) -> list[str]:
    """Return the ids of all libraries that have items of their own."""
    return [str(one) for one in center.rest("list the content libraries", "GET", LOCAL) or ()]


def items_called(center: VCenter, library: str, name: str) -> list[str]:
    """Return the ids of a library's items that have a name; normally one or none.

    Args:
        center: where.
        library: its id.
        name: the name, upper and lower case as they are.
    """
    wanted = {"spec": {"name": name, "library_id": library}}
    found = center.rest(f"find the item {name}", "POST", ITEM, wanted, params=FIND) or ()
    return [str(one) for one in found if _name(center, ITEM, str(one)) == name]


def entry(center: VCenter, item: str) -> LibraryEntry | None:
    """Return what an item is, or None where there is no such item."""
    try:
        return _read(item, center.rest("describe the item", "GET", identified(ITEM, item)))
    except VSphereError as error:
        if fault_of(error) != GONE:
            raise
        return None


def entries(center: VCenter, library: str) -> Iterator[LibraryEntry]:
    """Yield all items of a library."""
    listed = center.rest("list the library's items", "GET", ITEM, params={"library_id": library})
    for item in listed or ():
        if (found := entry(center, str(item))) is not None:  # else somebody deleted it meanwhile
            yield found


def change(center: VCenter, item: str, values: Mapping[str, str]) -> None:
    """Change an item's name or description.

    Raises:
        VSphereError: refused, or another item of the library has the name.
    """
    center.rest("change the item", "PATCH", identified(ITEM, item), {"update_spec": dict(values)})


def delete(center: VCenter, item: str) -> None:
    """Delete an item with its files, and the template that belongs to it. What is not there is deleted."""
    try:
        center.rest("delete the item", "DELETE", identified(ITEM, item))
    except VSphereError as error:
        if fault_of(error) != GONE:
            raise


def _only(center: VCenter, kind: str, path: str, wanted: dict[str, str], among: dict[str, str]) -> str:
    """Return the id of the only thing of a name; the server does not tell upper from lower case of libraries."""
    name = wanted["name"]
    ids = center.rest(f"find the {kind} {name}", "POST", path, {"spec": wanted}, params=FIND) or []
    found = [str(one) for one in ids]
    if len(found) > 1:
        found = [one for one in found if _name(center, path, one) == name] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise PreflightError(f"there are {len(found)} of the name: {kind} {name!r}", why=", ".join(found))
    known = [str(one) for one in center.rest(f"list each {kind}", "GET", path, params=among) or []]
    names = sorted(_name(center, path, one) for one in known[:MOST])
    near = nearest(name, names)
    raise PreflightError(
        f"there is no {kind} {name!r}",
        why=f"there are: {', '.join(names)}" if names else "there is none at all that this user may see",
        hint=f"did you mean {near!r}?" if near else "",
    )


def _name(center: VCenter, path: str, own: str) -> str:
    data: Any = center.rest(f"describe {own}", "GET", identified(path, own))
    return str((data or {}).get("name", ""))
