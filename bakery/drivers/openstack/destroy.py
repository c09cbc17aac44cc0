"""Unmaking, from the record alone: by id where one is known, and by our key in any case."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from bakery.drivers.openstack.api import resources as things
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, OpenStackError, OpenStackRetryableError, status_of
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import network, servers, volumes
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.model import Resource
from bakery.util.waiting import Cancel, until

TIMEOUT = 600.0
BUSY_VOLUME = frozenset({400, 409})
"""Cinder's ways to say that a volume is in use or on its way into another state."""


ORDER = (("server", "floating-address", "association", "keypair", "image", "snapshot"), ("port", "volume"))
"""What can go at the same time; what is in no list comes last."""


def destroy_batches(resources: Sequence[Resource]) -> list[list[Resource]]:
    """First what uses others, then what it used."""
    known = [kind for kinds in ORDER for kind in kinds]
    found = [[resource for resource in reversed(resources) if resource.kind in kinds] for kinds in ORDER]
    last = [resource for resource in reversed(resources) if resource.kind not in known]
    return [wave for wave in (*found, last) if wave]


def destroy(cloud: OpenStackCloud, resource: Resource) -> None:
    """Destroy one thing; return when it is gone.

    Raises:
        DriverError: it is still there; `RetryableError` where asking again may help.
    """
    if resource.kind == "association":
        _dissociate(cloud, resource)
        return
    if resource.kind not in things.KINDS:
        raise DriverError(f"{resource} is of a kind that this version does not know")
    if resource.kind == "server" and resource.id:
        _soon(cloud, resource.id)  # to look for a second one takes longer than it takes this one to go
    for one in _ids(cloud, resource):
        _wait(f"the {resource.kind} {one} is gone", lambda one=one: _step(cloud, resource.kind, one))  # type: ignore[misc]  # a bound default
    if resource.kind == "image":
        for left in _orphans(cloud, resource.key):
            _wait(f"the snapshot {left} is gone", lambda left=left: _step(cloud, "snapshot", left))  # type: ignore[misc]  # a bound default


def _ids(cloud: OpenStackCloud, resource: Resource) -> list[str]:
    """By our key, so that a second one whose answer was lost goes too; and by id, should the name be lost."""
    if resource.kind in {"volume", "snapshot"} and not cloud.has("block_storage"):
        return []
    known = [resource.id] if resource.id else []
    found = [things.id_of(resource.kind, thing) for thing in things.by_key(cloud, resource.kind, resource.key)]
    return list(dict.fromkeys([*known, *found]))


def _soon(cloud: OpenStackCloud, server: str) -> None:
    """Ask for its end; whether that was heard is seen later."""
    with contextlib.suppress(RetryableError):
        servers.end(cloud, server)


def _orphans(cloud: OpenStackCloud, key: str) -> list[str]:
    """Snapshots that Nova made for an image, which never got as far as to point to them."""
    if not cloud.has("block_storage"):
        return []
    return [one["id"] for one in things.by_key(cloud, "snapshot", f"snapshot for {key}")]


def _step(cloud: OpenStackCloud, kind: str, name: str) -> None:
    """Ask for the end, as often as it takes.

    Raises:
        NotYet: it is not gone yet.
    """
    if kind == "server":
        servers.ended(cloud, name)
        return
    if kind == "volume" and _leaving(cloud, kind, name):
        return
    try:
        _ask(cloud, kind, name)
    except OpenStackError as error:
        busy = status_of(error) in (BUSY_VOLUME if kind == "volume" else {CONFLICT})
        if not busy:
            raise
        if kind == "volume":
            volumes.release(cloud, name)
        raise NotYet(error.why) from error
    if not _leaving(cloud, kind, name):
        raise NotYet(f"the {kind} is on its way out")


def _leaving(cloud: OpenStackCloud, kind: str, name: str) -> bool:
    """Say whether a thing is gone.

    Raises:
        NotYet: it is going.
    """
    found = things.get(cloud, kind, name)
    if found is not None and found.get("status") in {"deleting", "pending_delete"}:
        raise NotYet(f"the {kind} is {found['status']}")
    return found is None


def _ask(cloud: OpenStackCloud, kind: str, name: str) -> None:
    if kind == "image":
        images.delete(cloud, name)
    elif kind == "snapshot":
        images.delete_snapshot(cloud, name)
    else:
        things.delete(cloud, kind, name)


def _dissociate(cloud: OpenStackCloud, resource: Resource) -> None:
    """The user's floating address stays; only, it no longer leads to our port."""
    found = things.get(cloud, "floating-address", resource.key)
    if found and found["port_id"] == resource.data["port"]:
        network.lead(cloud, resource.key, None)


def _wait(what: str, probe: Callable[[], Any]) -> None:
    """Clean-up is never cancelled, so it waits under a token of its own."""

    def ask() -> Any:
        try:
            return probe()
        except RetryableError as error:
            raise NotYet(error.why) from error

    until(ask, what=what, timeout=TIMEOUT, cancel=Cancel(), every=(0.1, 2.0), late=0.2, error=OpenStackRetryableError)
