"""Finding what carries our marks, without a journal: for `bake gc --driver openstack --older-than 6h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.model import Resource, Where


def find(cloud: OpenStackCloud, where: Where) -> Iterator[Resource]:
    """Yield a record for everything temporary that we made here and that fits."""
    for kind in resources.KINDS:
        if kind in {"volume", "snapshot"} and not cloud.has("block_storage"):
            continue
        for item in _listed(cloud, kind):
            marks = _marks(cloud, kind, item, where)
            if marks and _fits(marks, item, where):
                yield _record(cloud, kind, item, marks)


def _listed(cloud: OpenStackCloud, kind: str) -> list[dict[str, Any]]:
    if kind != "image":
        return resources.every(cloud, kind)
    hidden = resources.every(cloud, kind, owner=cloud.project, os_hidden="true")
    return [*resources.every(cloud, kind, owner=cloud.project), *hidden]


def _marks(cloud: OpenStackCloud, kind: str, item: Mapping[str, Any], where: Where) -> dict[str, str]:
    """What a thing says of itself; a key pair can only say it by its name, and Nova tells its age only singly."""
    if kind != "keypair":
        marks = tags.of(item)
        return marks if tags.RUN in marks and tags.EXPIRES in marks else {}
    name = str(item["name"])
    run = where.run if where.run and name.startswith(f"bakery-{where.run}-") else tags.run_of(name)
    if not run:
        return {}
    marks = {tags.RUN: run}
    if where.older_than is not None:
        shown = resources.get(cloud, kind, name)
        marks[tags.STARTED] = str(shown["created_at"]) if shown else ""
    return marks


def _fits(marks: Mapping[str, str], item: Mapping[str, Any], where: Where) -> bool:
    if where.run and marks[tags.RUN] != where.run:
        return False
    if where.older_than is None:
        return True
    text = marks.get(tags.STARTED) or item.get("created_at") or item.get("created") or ""
    return _age(str(text)) >= where.older_than


def _age(text: str) -> float:
    """Seconds since then; the services write UTC, some of them without saying so."""
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return (datetime.now(UTC) - then).total_seconds()


def _record(cloud: OpenStackCloud, kind: str, item: Mapping[str, Any], marks: Mapping[str, str]) -> Resource:
    name = resources.id_of(kind, dict(item))
    return Resource(
        driver="openstack",
        kind=kind,
        key=str(marks.get(tags.KEY) or item.get("name") or name),
        id=name,
        run=marks[tags.RUN],
        build=marks.get(tags.BUILD, ""),
        data=cloud.record,
    )
