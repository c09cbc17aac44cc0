"""Where a machine is put, who may reach it, and at which address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, OpenStackError, status_of
from bakery.drivers.openstack.machine.base_images import ID
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared.settings import words
from bakery.errors import DriverError, PreflightError
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.network.v2.network import Network
    from openstack.network.v2.port import Port

SSH = 22
V4, V6 = 4, 6


def networks(cloud: OpenStackCloud, source: OpenStack) -> list[Network]:
    """Return the networks in which ports are to be made, in order.

    Raises:
        PreflightError: none, or not clear which.
    """
    if source.ports:
        return []
    if source.network_cidr:
        return [_by_cidr(cloud, source.network_cidr)]
    if source.network:
        return [network_named(cloud, name) for name in words(source.network)]
    inside = [network for network in _listed(cloud, "networks") if not network.is_router_external]
    if len(inside) != 1:
        raise PreflightError(
            "it is not clear which network the machine belongs to" if inside else "the project sees no network",
            why=", ".join(network.name for network in inside),
            hint="OpenStack(network='...')",
        )
    return inside


def network_named(cloud: OpenStackCloud, name: str) -> Network:
    """Return a network by name or id.

    Raises:
        PreflightError: there is none, or more than one.
    """
    network: Network = _one_named(cloud, "networks", name)
    return network


def _one_named(cloud: OpenStackCloud, plural: str, name: str) -> Any:
    """Return the one network or security group of this name or id; openstacksdk's `find` does not list the others."""
    fitting = _listed(cloud, plural, **({"id": name} if ID.fullmatch(name) else {"name": name}))
    if len(fitting) != 1:
        known = ", ".join(sorted({resource.name for resource in _listed(cloud, plural)}))
        raise PreflightError(
            f"there are {len(fitting)} {plural.replace('_', ' ')} {name!r} here", why=f"there are: {known}"
        )
    return fitting[0]


LISTS: dict[str, Callable[..., Iterable[Any]]] = {
    "networks": lambda network, **query: network.networks(**query),
    "subnets": lambda network, **query: network.subnets(**query),
    "security_groups": lambda network, **query: network.security_groups(**query),
}


def _listed(cloud: OpenStackCloud, plural: str, **query: Any) -> list[Any]:
    what = f"list the {plural.replace('_', ' ')}"
    return cloud.call("network", what, lambda network: list(LISTS[plural](network, **query)))


def _by_cidr(cloud: OpenStackCloud, wanted: str) -> Network:
    outer = ip_network(wanted)
    for subnet in _listed(cloud, "subnets"):
        inner = ip_network(subnet.cidr)
        if inner.version == outer.version and inner.subnet_of(outer):  # type: ignore[arg-type]  # of one version
            return network_named(cloud, subnet.network_id)
    raise PreflightError(f"no network here has a subnet inside {wanted}", hint="OpenStack(network='...')")


def group_ids(cloud: OpenStackCloud, source: OpenStack) -> list[str]:
    """Return the ids of the user's security groups."""
    return [_one_named(cloud, "security_groups", name).id for name in source.security_groups]


def group(cloud: OpenStackCloud, claim: Claim) -> str:
    """Make a security group that lets nobody in yet, and return its id."""
    key = tags.new_key(claim)
    intent = claim.intend("security-group", key, **cloud.record)
    description = tags.line(claim)
    created = resources.create(
        cloud,
        "security-group",
        key,
        claim,
        lambda network: network.create_security_group(name=key, description=description),
    )
    return str(intent.made(created.id).id)


def open_ssh(cloud: OpenStackCloud, group_id: str, sources: tuple[str, ...]) -> None:
    """Let these networks in at port 22; a rule that is there already stands for a request whose answer was lost."""
    for cidr in sources:
        rule = {
            "security_group_id": group_id,
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": SSH,
            "port_range_max": SSH,
            "remote_ip_prefix": cidr,
            "ether_type": f"IPv{ip_network(cidr).version}",
        }
        try:
            cloud.call(
                "network",
                "open port 22",
                lambda network, rule=rule: network.create_security_group_rule(**rule),  # type: ignore[misc]  # a bound default
            )
        except OpenStackError as error:
            if status_of(error) != CONFLICT:
                raise


def allowed(source: OpenStack, address: str) -> tuple[str, ...]:
    """Return the networks that may reach port 22 of a machine at this address.

    Raises:
        PreflightError: from here it cannot be seen which address the machine will see.
    """
    given = words(source.ssh_from)
    if given != ("auto",):
        return tuple(str(ip_network(cidr)) for cidr in given)
    if source.bastion:
        return (_network(socket.gethostbyname(source.bastion.host)),)
    own = ip_address(_towards(address))
    if ip_address(address).is_global and own.is_private:
        raise PreflightError(
            f"it cannot be seen from here which address {address} sees this host at",
            why=f"this host is {own}, behind a translation of addresses",
            hint="OpenStack(ssh_from='203.0.113.7/32')",
        )
    return (_network(str(own)),)


def _towards(address: str) -> str:
    """Return this host's address on the way there; nothing is sent, only the routing table is asked."""
    family = socket.AF_INET6 if ip_address(address).version == V6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, SSH))
        except OSError as error:
            raise DriverError(f"this host has no way to {address}", why=str(error)) from error
        return str(probe.getsockname()[0])


def _network(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"


def port(cloud: OpenStackCloud, network: Network, groups: list[str], claim: Claim, address: str | None) -> Port:
    """Make a port, whose address is then known before the machine is.

    Args:
        cloud: where.
        network: the network to put it in.
        groups: ids of security groups.
        claim: for the journal.
        address: the address it must have; None is whichever is free.
    """
    key = tags.new_key(claim)
    intent = claim.intend("port", key, **cloud.record)
    attributes: dict[str, Any] = {
        "name": key,
        "description": tags.line(claim),
        "network_id": network.id,
        "security_group_ids": groups,
    }
    if network.is_port_security_enabled is False:
        attributes.pop("security_group_ids")
    if address:
        attributes["fixed_ips"] = [{"ip_address": address}]
    created: Port = resources.create(cloud, "port", key, claim, lambda proxy: proxy.create_port(**attributes))
    intent.made(created.id)
    return created


def fixed(port: Port, version: int) -> str:
    """Return a port's address of an IP version, or an empty text."""
    addresses = [entry["ip_address"] for entry in port.fixed_ips or []]
    return next((address for address in addresses if ip_address(address).version == version), "")


def floating(cloud: OpenStackCloud, source: OpenStack, port_id: str, claim: Claim) -> str:
    """Lead a floating address to a port: a new one, or the one that the user names.

    Raises:
        DriverError: the named one is in use, or not the project's.
    """
    if source.floating_address:
        return _reused(cloud, source.floating_address, port_id, claim)
    network = network_named(cloud, str(source.floating_network))
    key = tags.new_key(claim)
    intent = claim.intend("floating-address", key, **cloud.record)
    attributes = {
        "floating_network_id": network.id,
        "port_id": port_id,
        "description": f"{key} {tags.line(claim)}"[: tags.LONGEST],
    }
    created = resources.create(cloud, "floating-address", key, claim, lambda proxy: proxy.create_ip(**attributes))
    intent.made(created.id)
    return str(created.floating_ip_address)


def _reused(cloud: OpenStackCloud, address: str, port_id: str, claim: Claim) -> str:
    existing = resources.list_all(cloud, "floating-address", floating_ip_address=address)
    if not existing:
        raise DriverError(f"the project has no floating address {address}")
    if existing[0].port_id not in {None, port_id}:
        raise DriverError(f"the floating address {address} is in use", why=f"by the port {existing[0].port_id}")
    claim.intend("association", existing[0].id, **cloud.record, port=port_id).made(existing[0].id)
    lead(cloud, existing[0].id, port_id)
    return address


def lead(cloud: OpenStackCloud, floating_id: str, port_id: str | None) -> None:
    """Lead a floating address to a port, or nowhere; one that is not there is left alone."""
    cloud.find("network", "lead the floating address", lambda network: network.update_ip(floating_id, port_id=port_id))
