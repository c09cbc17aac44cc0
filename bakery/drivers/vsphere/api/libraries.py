"""Content libraries: items by their names; a name that is not there is an error that lists what is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.rest import identified
from bakery.errors import PreflightError
from bakery.util.suggestions import nearest

LIBRARY, ITEM = "/com/vmware/content/library", "/com/vmware/content/library/item"
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
    """

    id: str
    name: str
    kind: str
    version: str
    size: int

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
    own = _only(center, "content library", LIBRARY, {"name": library}, {})
    found = _only(
        center, f"item in the content library {library}", ITEM, {"name": item, "library_id": own}, {"library_id": own}
    )
    data = center.rest(f"describe the item {item}", "GET", identified(ITEM, found)) or {}
    return LibraryEntry(
        id=found,
        name=str(data.get("name", item)),
        kind=str(data.get("type", "")),
        version=str(data.get("content_version") or data.get("last_modified_time") or ""),
        size=int(data.get("size") or 0),
    )


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
