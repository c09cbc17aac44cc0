"""All kinds of things that we make, and how each is found again: made once, even where the answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bakery.drivers.openstack.api.cloud import ATTEMPTS, OpenStackCloud
from bakery.drivers.openstack.api.errors import OpenStackRetryableError
from bakery.state.claim import Claim
from bakery.util.retry import retry

Thing = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of thing.

    Args:
        service: who has it.
        path: of the list, and below it of one thing.
        result: the list's name in the answer.
        one: one thing's name in an answer; empty where the answer is the thing.
        listing: the list's path where it differs.
    """

    service: str
    path: str
    result: str
    one: str
    listing: str = ""


KINDS: dict[str, Kind] = {
    "keypair": Kind(service="compute", path="/os-keypairs", result="keypairs", one="keypair"),
    "security-group": Kind(service="network", path="/security-groups", result="security_groups", one="security_group"),
    "port": Kind(service="network", path="/ports", result="ports", one="port"),
    "floating-address": Kind(service="network", path="/floatingips", result="floatingips", one="floatingip"),
    "volume": Kind(service="block_storage", path="/volumes", result="volumes", one="volume", listing="/volumes/detail"),
    "snapshot": Kind(
        service="block_storage", path="/snapshots", result="snapshots", one="snapshot", listing="/snapshots/detail"
    ),
    "image": Kind(service="image", path="/images", result="images", one=""),
    "server": Kind(service="compute", path="/servers", result="servers", one="server", listing="/servers/detail"),
}
"""In the order of making, as `undo` goes backwards."""


def get(cloud: OpenStackCloud, kind: str, name: str) -> Thing | None:
    """Return one thing as its service describes it, or None where there is none."""
    known = KINDS[kind]
    found = cloud.ask("GET", known.service, f"{known.path}/{name}", f"show the {kind} {name}", missing_ok=True)
    return (found[known.one] if known.one else found) if found else None


def every(cloud: OpenStackCloud, kind: str, **params: Any) -> list[Thing]:
    """Return all of a kind that the project has."""
    known = KINDS[kind]
    items = cloud.pages(known.service, known.listing or known.path, known.result, f"list the {kind}s", **params)
    return [item["keypair"] if kind == "keypair" else item for item in items]


def by_key(cloud: OpenStackCloud, kind: str, key: str) -> list[Thing]:
    """Return the things that carry our key, normally one or none."""
    match kind:
        case "keypair":
            found = get(cloud, kind, key)
            return [found] if found else []
        case "floating-address":  # has no name: the key is in its description
            return [one for one in every(cloud, kind) if key in (one.get("description") or "")]
        case "server":
            return [one for one in every(cloud, kind, name=f"^{key}$") if one["name"] == key]
        case _:
            return [one for one in every(cloud, kind, name=key) if one["name"] == key]


def id_of(kind: str, thing: Thing) -> str:
    """What the service calls it."""
    return str(thing["name"] if kind == "keypair" else thing["id"])


def make(cloud: OpenStackCloud, kind: str, key: str, claim: Claim, body: Thing, *, path: str = "") -> Thing:
    """Make one thing.

    No service but Cinder's newest knows a client token, so an answer that is lost is not asked for again blindly: we
    look for our key first.

    Args:
        cloud: where.
        kind: of `KINDS`.
        key: what the thing carries from its first moment.
        claim: whose cancellation ends the waiting.
        body: of the request.
        path: where to ask, if not at the list's path.

    Raises:
        OpenStackError: the cloud said no.
    """
    known = KINDS[kind]

    def call() -> Thing:
        request = {known.one: body} if known.one and not path else body
        answer = cloud.ask("POST", known.service, path or known.path, f"make the {kind}", once=True, json=request)
        return dict(answer[known.one]) if known.one else answer

    return once(call, lambda: by_key(cloud, kind, key), claim)


def once(call: Callable[[], Thing], look: Callable[[], list[Thing]], claim: Claim) -> Thing:
    """Call until there is an answer, and look before every call but the first whether one has worked unheard."""
    asked = False

    def ask() -> Thing:
        nonlocal asked
        found = look() if asked else []
        asked = True
        return found[0] if found else call()

    def say(_: int, error: BaseException) -> None:
        claim.waiting(f"{error}, trying again")

    return retry(ask, claim.cancel, on=OpenStackRetryableError, attempts=ATTEMPTS, first=0.5, say=say)


def delete(cloud: OpenStackCloud, kind: str, name: str) -> None:
    """Ask for its end; what is not there is well."""
    known = KINDS[kind]
    cloud.ask("DELETE", known.service, f"{known.path}/{name}", f"delete the {kind} {name}", missing_ok=True)
