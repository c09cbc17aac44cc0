"""Where a machine goes: datacenter, cluster or host, resource pool, folder, datastore, networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.api.inventory import Entity, Inventory
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import PreflightError
from bakery.model import Resource
from bakery.state.claim import Claim

FOLDER = "folder"
"""The journal's word for a folder that was made for a build."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a machine goes.

    Args:
        datacenter: which.
        pool: pyvmomi's reference to the resource pool.
        host: the host, or None to leave it to the cluster.
        machines: the datacenter's folder of machines.
        path: the names of the folder below that, some of which may have to be made.
        datastore: or None for the base's own.
        pod: a datastore cluster, in place of a datastore.
        networks: for the first network cards.
    """

    datacenter: Entity
    pool: Any
    host: Entity | None
    machines: Any
    path: tuple[str, ...]
    datastore: Entity | None
    pod: Entity | None
    networks: tuple[Entity, ...]


Attempt = Callable[[Callable[[], Any]], Any]
"""Looks something up: calls what it is given, and may go on where that fails."""


def find(
    center: VCenter,
    source: VSphere,
    base: CloneBase | None,
    inventory: Inventory,
    attempt: Attempt = lambda look: look(),
) -> Place:
    """Look the names of a source up.

    Args:
        center: where.
        source: what the user asked for.
        base: what is cloned, whose datacenter counts where none is named; None where that is not known yet.
        inventory: with its machines where there is a base.
        attempt: makes each look-up, so that pre-flight can go on after one that failed.

    Raises:
        PreflightError: a name is not there, or none is named and there are several.
    """
    datacenter = _datacenter(source, base, inventory)
    below = datacenter.path

    def named(kind: str, option: str, name: str | None) -> Any:
        return attempt(lambda: inventory.find(kind, name, below, shown=f"{option}=")) if name else None

    host = named("host", "host", source.host)
    return Place(
        datacenter=datacenter,
        pool=attempt(lambda: _pool(center, source, host, inventory, below)),
        host=host,
        machines=_needed(center, datacenter.ref, "vmFolder"),
        path=_folder_path(source, below),
        datastore=named("datastore", "datastore", source.datastore),
        pod=named("datastore cluster", "datastore_cluster", source.datastore_cluster),
        networks=tuple(named("network", "network", name) for name in source.networks),
    )


def _needed(center: VCenter, thing: Any, path: str) -> Any:
    values = center.properties(thing, path) or {}
    if path not in values:
        raise PreflightError(f"vSphere does not say the {path} of {moid(thing)}")
    return values[path]


def _datacenter(source: VSphere, base: CloneBase | None, inventory: Inventory) -> Entity:
    if source.datacenter:
        return inventory.find("datacenter", source.datacenter, shown="datacenter=")
    own = inventory.by_ref(base.ref) if base is not None else None
    if own is not None:
        for datacenter in inventory.of("datacenter"):
            if own.path.startswith(f"{datacenter.path}/"):
                return datacenter
    return inventory.only("datacenter", "datacenter=")


def _pool(center: VCenter, source: VSphere, host: Entity | None, inventory: Inventory, below: str) -> Any:
    if source.cluster:
        cluster = inventory.find("cluster", source.cluster, below, shown="cluster=")
        if host is not None and not host.path.startswith(f"{cluster.path}/"):
            raise PreflightError(f"the host {host.name} is not in the cluster {cluster.name}", why=host.path)
    elif host is not None:
        cluster = next(
            one for one in inventory.of("cluster", below) if host.path.startswith(f"{one.path}/")
        )  # a host without a cluster has a ComputeResource of its own
    elif source.resource_pool:
        return inventory.find("resource pool", source.resource_pool, below, shown="resource_pool=").ref
    else:
        cluster = inventory.only("cluster", "cluster=", below)
    if source.resource_pool:
        return inventory.find("resource pool", source.resource_pool, cluster.path, shown="resource_pool=").ref
    return _needed(center, cluster.ref, "resourcePool")


def _folder_path(source: VSphere, below: str) -> tuple[str, ...]:
    text = (source.folder or "").strip("/")
    prefix = f"{below.strip('/')}/vm"
    if f"/{text}/".startswith(f"/{prefix}/"):  # a whole inventory path
        text = text[len(prefix) :]
    return tuple(name for name in text.split("/") if name)


def folder(center: VCenter, place: Place, claim: Claim) -> tuple[Any, list[Resource]]:
    """Return the folder that machines and the image go into, made where it is missing, with the records of that.

    Args:
        center: where.
        place: names it.
        claim: the right to make it.
    """
    current, made = place.machines, list[Resource]()
    for name in place.path:
        if (found := child(center, current, name)) is None:
            found, record = _make(center, current, name, claim)
            made += [record] if record else []
        current = found
    return current, made


def existing_folder(center: VCenter, place: Place) -> Any:
    """Return the folder, or None where it is still to be made."""
    current = place.machines
    for name in place.path:
        if current is not None:
            current = child(center, current, name)
    return current


def child(center: VCenter, parent: Any, name: str) -> Any:
    """Return a folder's child folder of a name, or None."""
    vim = types.vim()
    values = center.properties(parent, "childEntity") or {}
    for one in values.get("childEntity") or ():
        if isinstance(one, vim.Folder) and (center.properties(one, "name") or {}).get("name") == name:
            return one
    return None


def _make(center: VCenter, parent: Any, name: str, claim: Claim) -> tuple[Any, Resource | None]:
    above = moid(parent)
    intent = claim.intend(FOLDER, f"{above}/{name}", parent=above, name=name, **center.record)
    try:
        made = center.call(f"make the folder {name}", lambda: parent.CreateFolder(name))
    except VSphereError as error:
        existing = child(center, parent, name)
        if fault_of(error) != "DuplicateName" or existing is None:
            raise
        intent.keep()  # another build was quicker: it is that one's to destroy
        return existing, None
    return made, intent.made(moid(made))


def datastore(center: VCenter, place: Place, base: CloneBase, name: str, folder_ref: Any) -> Any:
    """Return the datastore that a clone goes to: the named one, vCenter's choice of a cluster, or None for the base's.

    Args:
        center: where.
        place: names it.
        base: what is cloned.
        name: the clone's.
        folder_ref: the clone's folder.

    Raises:
        PreflightError: the cluster has no room.
    """
    if place.pod is None:
        return place.datastore.ref if place.datastore else None
    vim = types.vim()
    clone = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=place.pool), powerOn=False, template=False)
    wanted = vim.storageDrs.StoragePlacementSpec(
        type="clone",
        vm=base.ref,
        folder=folder_ref,
        cloneName=name,
        cloneSpec=clone,
        podSelectionSpec=vim.storageDrs.PodSelectionSpec(storagePod=place.pod.ref),
        resourcePool=place.pool,
    )
    manager = center.content.storageResourceManager
    answer = center.call(
        f"choose a datastore of {place.pod.name}", lambda: manager.RecommendDatastores(storageSpec=wanted)
    )
    for recommendation in answer.recommendations or ():
        for action in recommendation.action or ():
            destination = getattr(action, "destination", None)
            if destination is not None:
                return destination
    raise PreflightError(f"no datastore of {place.pod.name} has room for the machine", hint="datastore=...")
