"""Find what carries our marks, without a journal: for `bake gc --driver openstack --older-than 6h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.shared import marks
from bakery.model import Resource, Where


def find(cloud: OpenStackCloud, where: Where) -> Iterator[Resource]:
    """Yield a record for everything temporary that we made here and that fits."""
    for kind in resources.KINDS:
        if kind in {"volume", "snapshot"} and not cloud.has("block_storage"):
            continue
        for resource in _listed(cloud, kind):
            carried = _marks(cloud, kind, resource, where)
            if carried and _fits(carried, resource, where):
                yield _record(cloud, kind, resource, carried)


def _listed(cloud: OpenStackCloud, kind: str) -> list[Any]:
    if kind != "image":
        return resources.list_all(cloud, kind)
    hidden = resources.list_all(cloud, kind, owner=cloud.project, is_hidden=True)
    return [*resources.list_all(cloud, kind, owner=cloud.project), *hidden]


def _marks(cloud: OpenStackCloud, kind: str, resource: Any, where: Where) -> dict[str, str]:
    """Return the marks of something temporary; a key pair has only its name, and Nova tells its age only singly."""
    if kind != "keypair":
        carried = tags.of(resource)
        return carried if tags.RUN in carried and tags.EXPIRES in carried else {}
    name = str(resource.name)
    run = where.run if where.run and name.startswith(f"bakery-{where.run}-") else tags.run_of(name)
    if not run:
        return {}
    carried = {tags.RUN: run}
    if where.older_than is not None:
        shown = resources.get(cloud, kind, name)
        carried[tags.STARTED] = str(shown.created_at) if shown else ""
    return carried


def _fits(carried: Mapping[str, str], resource: Any, where: Where) -> bool:
    if where.run and carried[tags.RUN] != where.run:
        return False
    started = carried.get(tags.STARTED) or getattr(resource, "created_at", None) or ""
    return marks.is_older(str(started), where.older_than, undated=False)


def _record(cloud: OpenStackCloud, kind: str, resource: Any, carried: Mapping[str, str]) -> Resource:
    return Resource(
        driver="openstack",
        kind=kind,
        key=str(carried.get(tags.KEY) or resource.name or resource.id),
        id=str(resource.id),
        run=carried[tags.RUN],
        build=carried.get(tags.BUILD, ""),
        data=cloud.record,
    )
