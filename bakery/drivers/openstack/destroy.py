"""Destroy from the record alone: by id where one is known, and by our key in any case."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, OpenStackError, OpenStackRetryableError, status_of
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import network, servers, volumes
from bakery.drivers.shared.waiting import until_gone
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.model import Resource

BUSY_VOLUME = frozenset({400, 409})
"""Cinder's ways to say that a volume is in use or on its way into another state."""
ORDER = (("server", "floating-address", "association", "keypair", "image", "snapshot"), ("port", "volume"))
"""What can go at the same time; what is in no list comes last."""


def destroy_batches(records: Sequence[Resource]) -> list[list[Resource]]:
    """Return what is destroyed together, in order: what uses others before what it used."""
    known = [kind for kinds in ORDER for kind in kinds]
    batches = [[record for record in reversed(records) if record.kind in kinds] for kinds in ORDER]
    last = [record for record in reversed(records) if record.kind not in known]
    return [batch for batch in (*batches, last) if batch]


def destroy(cloud: OpenStackCloud, record: Resource) -> None:
    """Destroy one resource; return when it is gone.

    Raises:
        DriverError: it is still there; `RetryableError` where asking again may help.
    """
    if record.kind == "association":
        _dissociate(cloud, record)
        return
    if record.kind not in resources.KINDS:
        raise DriverError(f"{record} is of a kind that this version does not know")
    if record.kind == "server" and record.id:
        _ask_early(cloud, record.id)  # to look for a second one takes longer than it takes this one to go
    for name in _ids(cloud, record):
        _wait(f"the {record.kind} {name} is gone", partial(_step, cloud, record.kind, name))
    if record.kind == "image":
        for snapshot in _orphans(cloud, record.key):
            _wait(f"the snapshot {snapshot} is gone", partial(_step, cloud, "snapshot", snapshot))


def _ids(cloud: OpenStackCloud, record: Resource) -> list[str]:
    """By our key, so that a second one whose answer was lost goes too; and by id, should the name be lost."""
    if record.kind in {"volume", "snapshot"} and not cloud.has("block_storage"):
        return []
    known = [record.id] if record.id else []
    keyed = [str(resource.id) for resource in resources.by_key(cloud, record.kind, record.key)]
    return list(dict.fromkeys([*known, *keyed]))


def _ask_early(cloud: OpenStackCloud, server: str) -> None:
    """Ask for a server's end; whether that was heard is seen later."""
    with contextlib.suppress(RetryableError):
        servers.end(cloud, server)


def _orphans(cloud: OpenStackCloud, key: str) -> list[str]:
    """Return the snapshots that Nova made for an image, which never got as far as to point to them."""
    if not cloud.has("block_storage"):
        return []
    return [snapshot.id for snapshot in resources.by_key(cloud, "snapshot", f"snapshot for {key}")]


def _step(cloud: OpenStackCloud, kind: str, name: str) -> None:
    """Ask for the end, as often as it takes.

    Raises:
        NotYet: it is not gone yet.
    """
    if kind == "server":
        servers.ended(cloud, name)
        return
    if kind == "volume" and _is_gone(cloud, kind, name):
        return
    try:
        _delete(cloud, kind, name)
    except OpenStackError as error:
        busy = status_of(error) in (BUSY_VOLUME if kind == "volume" else {CONFLICT})
        if not busy:
            raise
        if kind == "volume":
            volumes.release(cloud, name)
        raise NotYet(error.why) from error
    if not _is_gone(cloud, kind, name):
        raise NotYet(f"the {kind} is on its way out")


def _is_gone(cloud: OpenStackCloud, kind: str, name: str) -> bool:
    """Say whether a resource is gone.

    Raises:
        NotYet: it is going.
    """
    resource = resources.get(cloud, kind, name)
    status = getattr(resource, "status", None)
    if status in {"deleting", "pending_delete"}:
        raise NotYet(f"the {kind} is {status}")
    return resource is None


def _delete(cloud: OpenStackCloud, kind: str, name: str) -> None:
    if kind == "image":
        images.delete(cloud, name)
    elif kind == "snapshot":
        images.delete_snapshot(cloud, name)
    else:
        resources.delete(cloud, kind, name)


def _dissociate(cloud: OpenStackCloud, record: Resource) -> None:
    """Keep the user's floating address; only, it no longer leads to our port."""
    address = resources.get(cloud, "floating-address", record.key)
    if address and address.port_id == record.data["port"]:
        network.lead(cloud, record.key, None)


def _wait(what: str, probe: Callable[[], Any]) -> None:
    until_gone(what, probe, every=(0.1, 2.0), late=0.2, error=OpenStackRetryableError)
