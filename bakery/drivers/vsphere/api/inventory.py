"""The inventory: everything by its name or path; a name that is not there is an error that lists what is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.errors import PreflightError
from bakery.util.suggestions import nearest

MOST: Final = 20
"""Names that an error lists."""
KINDS: Final = {
    "datacenter": "Datacenter",
    "cluster": "ComputeResource",
    "host": "HostSystem",
    "resource pool": "ResourcePool",
    "folder": "Folder",
    "datastore": "Datastore",
    "datastore cluster": "StoragePod",
    "network": "Network",
    "machine": "VirtualMachine",
}
"""Our words, and vSphere's classes with their subclasses: a cluster is a ComputeResource, a port group a Network."""


@dataclass(frozen=True)
class Entity:
    """One object of the inventory.

    Args:
        ref: pyvmomi's reference to it.
        name: its name.
        path: as govc writes it: `/DC0/vm/bases/debian-12`.
    """

    ref: Any
    name: str
    path: str

    @property
    def moid(self) -> str:
        """Its id, as in `vm-42`."""
        return moid(self.ref)


class Inventory:
    """What there is, as it was at one moment.

    Args:
        entities: all that was read.
    """

    def __init__(self, entities: Iterable[Entity]) -> None:
        self.entities = sorted(entities, key=lambda entity: entity.path)

    def of(self, kind: str, below: str = "") -> list[Entity]:
        """Return all of a kind, in the order of their paths.

        Args:
            kind: of `KINDS`.
            below: only those whose path begins with this one.
        """
        wanted = _class(kind)
        return [
            entity
            for entity in self.entities
            if isinstance(entity.ref, wanted)
            and (not below or entity.path.startswith(f"{below}/"))
            and (kind == "datastore cluster" or not isinstance(entity.ref, _class("datastore cluster")))
        ]

    def find(self, kind: str, wanted: str, below: str = "", *, shown: str = "") -> Entity:
        """Return the one of this name or path.

        Args:
            kind: of `KINDS`.
            wanted: a name; or a path, from the root (`/DC0/vm/web`) or its end (`bases/web`).
            below: as `of`.
            shown: which option named it, for messages: `datastore=`.

        Raises:
            PreflightError: there is none, with what there is; or there are several, with their paths.
        """
        known = self.of(kind, below)
        fitting = [entity for entity in known if _fits(entity, wanted)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise PreflightError(
                f"there are {len(fitting)} {_plural(kind)} {wanted!r}",
                why=", ".join(entity.path for entity in fitting[:MOST]),
                hint=f"{shown or 'name it by '}its path, as in {fitting[0].path!r}",
            )
        raise PreflightError(
            f"there is no {kind} {wanted!r}" + (f" in {below}" if below else ""),
            why=f"there are: {_listed(known)}" if known else f"there is no {kind} at all that this user may see",
            hint=_hint(wanted, known, shown),
        )

    def only(self, kind: str, option: str, below: str = "") -> Entity:
        """Return the only one there is.

        Args:
            kind: of `KINDS`.
            option: which chooses among several, for the message: `cluster=`.
            below: as `of`.

        Raises:
            PreflightError: there is none, or more than one.
        """
        known = self.of(kind, below)
        if len(known) == 1:
            return known[0]
        where = f" in {below}" if below else ""
        if not known:
            raise PreflightError(f"there is no {kind}{where} that this user may see")
        raise PreflightError(
            f"there are {len(known)} {_plural(kind)}{where}, and none is named",
            why=_listed(known),
            hint=f"VSphere({option}{known[0].name!r})",
        )

    def by_ref(self, ref: Any) -> Entity | None:
        """Return the entity of a reference, or None."""
        return next((entity for entity in self.entities if entity.moid == moid(ref)), None)


def read(center: VCenter, *, machines: bool = False) -> Inventory:
    """Read the inventory.

    Args:
        center: where.
        machines: machines and templates too; a large vCenter has thousands.
    """
    kinds = [kind for kind in KINDS if machines or kind != "machine"]
    raw = center.all({_class(kind): ("name", "parent") for kind in kinds if kind != "datastore cluster"})
    root = moid(center.content.rootFolder)
    known = {moid(ref): (ref, values) for ref, values in raw}
    return Inventory(
        Entity(ref, unquote(str(values.get("name", ""))), _path(name, known, root))
        for name, (ref, values) in known.items()
        if name != root
    )


def _path(start: str, known: Mapping[str, tuple[Any, Mapping[str, Any]]], root: str) -> str:
    names: list[str] = []
    current = start
    while current != root and current in known:
        _, values = known[current]
        names.append(str(values.get("name", "")))
        parent = values.get("parent")
        if parent is None:  # in a vApp, or above what this user may see
            break
        current = moid(parent)
    return "".join(f"/{unquote(name)}" for name in reversed(names))


def _class(kind: str) -> Any:
    vim = types.vim()
    return getattr(vim, KINDS[kind])


def _fits(entity: Entity, wanted: str) -> bool:
    if wanted.startswith("/"):
        return entity.path == wanted.rstrip("/")
    return entity.name == wanted or entity.path.endswith(f"/{wanted.rstrip('/')}")


def _plural(kind: str) -> str:
    return f"{kind}s"


def _listed(known: list[Entity]) -> str:
    names = [entity.path for entity in known]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _hint(wanted: str, known: list[Entity], shown: str) -> str:
    names = [entity.path if wanted.startswith("/") else entity.name for entity in known]
    near = nearest(wanted, names)
    return f"did you mean {near!r}?" if near else f"{shown}NAME or {shown}'/PATH/OF/IT'"
