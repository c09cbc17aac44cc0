"""The kinds of resources that a build makes: how each is listed, found by our key, made once, and deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import OpenStackRetryableError
from bakery.drivers.shared.create_once import create_once
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.image.v2.image import Image


@cache
def filtered_image(names: tuple[str, ...]) -> type[Image]:
    """Return openstacksdk's Image with more filters that are sent to Glance.

    `image.images(...)` drops a filter that it does not know without a word (openstacksdk 4.22), and then lists every
    image; Glance itself filters by any property.

    Args:
        names: of the filters: openstacksdk's own, or properties of images.
    """
    from openstack.image.v2.image import Image
    from openstack.resource import QueryParameters

    class FilteredImage(Image):
        _query_mapping = QueryParameters(
            *(name for name in names if name not in {"is_hidden", "limit", "marker"}), is_hidden="os_hidden"
        )

    return FilteredImage


@dataclass(frozen=True)
class Kind:
    """One kind of resource, by the words that openstacksdk's proxies make their calls' names of.

    Args:
        service: the proxy.
        one: what `get_` and `delete_` are followed by.
        many: the call that lists all that the project has.
    """

    service: str
    one: str
    many: str

    def get(self, proxy: Any, name: str) -> Any:
        """Return one resource by its id."""
        return getattr(proxy, f"get_{self.one}")(name)

    def list(self, proxy: Any, **query: Any) -> Any:
        """Return all that the project has, by the service's filters."""
        if self.one == "image":
            return filtered_image(tuple(query)).list(proxy, **query)
        return getattr(proxy, self.many)(**query)

    def delete(self, proxy: Any, name: str) -> None:
        """Ask for the end of one; one that is not there counts as deleted."""
        getattr(proxy, f"delete_{self.one}")(name)


KINDS: dict[str, Kind] = {
    "keypair": Kind("compute", "keypair", "keypairs"),
    "security-group": Kind("network", "security_group", "security_groups"),
    "port": Kind("network", "port", "ports"),
    "floating-address": Kind("network", "ip", "ips"),
    "volume": Kind("block_storage", "volume", "volumes"),
    "snapshot": Kind("block_storage", "snapshot", "snapshots"),
    "image": Kind("image", "image", "images"),
    "server": Kind("compute", "server", "servers"),
}
"""In the order of making, as the clean-up goes backwards."""


def get(cloud: OpenStackCloud, kind: str, name: str) -> Any:
    """Return one resource as openstacksdk shows it, or None where there is none.

    Args:
        cloud: where.
        kind: of `KINDS`.
        name: its id; of a key pair, its name.
    """
    known = KINDS[kind]
    return cloud.find(known.service, f"show the {kind} {name}", lambda proxy: known.get(proxy, name))


def list_all(cloud: OpenStackCloud, kind: str, **query: Any) -> list[Any]:
    """Return all resources of a kind that the project has, from all pages.

    Args:
        cloud: where.
        kind: of `KINDS`.
        query: the service's filters; those that are None are left out.
    """
    known = KINDS[kind]
    filters = {name: value for name, value in query.items() if value is not None}
    return cloud.call(known.service, f"list the {kind}s", lambda proxy: list(known.list(proxy, **filters)))


def by_key(cloud: OpenStackCloud, kind: str, key: str) -> list[Any]:
    """Return the resources that carry our key, normally one or none."""
    match kind:
        case "keypair":
            keypair = get(cloud, kind, key)
            return [keypair] if keypair else []
        case "floating-address":  # has no name: the key is in its description
            return [address for address in list_all(cloud, kind) if key in (address.description or "")]
        case "server":  # Nova takes a name as a regular expression
            return [server for server in list_all(cloud, kind, name=f"^{key}$") if server.name == key]
        case _:
            return [resource for resource in list_all(cloud, kind, name=key) if resource.name == key]


def create(cloud: OpenStackCloud, kind: str, key: str, claim: Claim, request: Callable[[Any], Any]) -> Any:
    """Create one resource, once, and return it.

    No service but Cinder's newest knows a client token, so after a lost answer our key is looked for first.

    Args:
        cloud: where.
        kind: of `KINDS`.
        key: what the resource carries from its first moment.
        claim: whose cancellation ends the waiting.
        request: gets the proxy, and returns the resource.

    Raises:
        OpenStackError: the cloud refused; `OpenStackRetryableError` where it did so for now, each time.
    """
    return create_once(
        lambda: cloud.call(KINDS[kind].service, f"make the {kind}", request, repeat=False),
        lambda: by_key(cloud, kind, key),
        claim,
        on=OpenStackRetryableError,
    )


def delete(cloud: OpenStackCloud, kind: str, name: str) -> None:
    """Ask for a resource's end; one that is not there counts as deleted."""
    known = KINDS[kind]
    cloud.call(known.service, f"delete the {kind} {name}", lambda proxy: known.delete(proxy, name))
