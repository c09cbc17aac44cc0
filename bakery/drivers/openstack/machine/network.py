"""Where a machine is put, who may reach it, and at which address."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from typing import Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, OpenStackError, status_of
from bakery.drivers.openstack.machine.base_images import ID
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared.settings import words
from bakery.errors import DriverError, PreflightError
from bakery.state.claim import Claim

SSH = 22
V4, V6 = 4, 6


def networks(cloud: OpenStackCloud, source: OpenStack) -> list[dict[str, Any]]:
    """Return the networks in which ports are to be made, in order.

    Raises:
        PreflightError: none, or not clear which.
    """
    if source.ports:
        return []
    if source.network_cidr:
        return [_by_cidr(cloud, source.network_cidr)]
    if source.network:
        return [one_named(cloud, name) for name in words(source.network)]
    found = [one for one in _listed(cloud, "networks") if not one.get("router:external")]
    if len(found) != 1:
        raise PreflightError(
            "it is not clear which network the machine belongs to" if found else "the project sees no network",
            why=", ".join(one["name"] for one in found),
            hint="OpenStack(network='...')",
        )
    return found


def one_named(cloud: OpenStackCloud, name: str) -> dict[str, Any]:
    """Return a network by name or id.

    Raises:
        PreflightError: there is none, or more than one.
    """
    return _one(cloud, "networks", name)


def _one(cloud: OpenStackCloud, what: str, name: str) -> dict[str, Any]:
    found = _listed(cloud, what, **({"id": name} if ID.fullmatch(name) else {"name": name}))
    if len(found) != 1:
        known = ", ".join(sorted({one["name"] for one in _listed(cloud, what)}))
        raise PreflightError(
            f"there are {len(found)} {what.replace('_', ' ')} {name!r} here", why=f"there are: {known}"
        )
    return found[0]


def _listed(cloud: OpenStackCloud, what: str, **params: Any) -> list[dict[str, Any]]:
    path = f"/{what.replace('_', '-')}"
    return list(cloud.pages("network", path, what, f"list the {what.replace('_', ' ')}", **params))


def _by_cidr(cloud: OpenStackCloud, wanted: str) -> dict[str, Any]:
    outer = ip_network(wanted)
    for subnet in _listed(cloud, "subnets"):
        inner = ip_network(subnet["cidr"])
        if inner.version == outer.version and inner.subnet_of(outer):  # type: ignore[arg-type]  # of one version
            return _one(cloud, "networks", subnet["network_id"])
    raise PreflightError(f"no network here has a subnet inside {wanted}", hint="OpenStack(network='...')")


def group_ids(cloud: OpenStackCloud, source: OpenStack) -> list[str]:
    """Return the ids of the user's security groups."""
    return [_one(cloud, "security_groups", name)["id"] for name in source.security_groups]


def group(cloud: OpenStackCloud, claim: Claim) -> str:
    """Make a security group that lets nobody in yet."""
    key = tags.new_key(claim)
    intent = claim.intend("security-group", key, **cloud.record)
    body = {"name": key, "description": tags.line(claim)}
    return str(intent.made(resources.make(cloud, "security-group", key, claim, body)["id"]).id)


def open_ssh(cloud: OpenStackCloud, group_id: str, sources: tuple[str, ...]) -> None:
    """Let them in; that it was done already is the answer to a question whose first answer was lost."""
    for one in sources:
        rule = {
            "security_group_id": group_id,
            "direction": "ingress",
            "protocol": "tcp",
            "port_range_min": SSH,
            "port_range_max": SSH,
            "remote_ip_prefix": one,
            "ethertype": f"IPv{ip_network(one).version}",
        }
        try:
            cloud.ask("POST", "network", "/security-group-rules", "open port 22", json={"security_group_rule": rule})
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
        return tuple(str(ip_network(one)) for one in given)
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
    """This host's address on the way there; nothing is sent, only the routing table is asked."""
    family = socket.AF_INET6 if ip_address(address).version == V6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, SSH))
        except OSError as error:
            raise DriverError(f"this host has no way to {address}", why=str(error)) from error
        return str(probe.getsockname()[0])


def _network(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"


def port(
    cloud: OpenStackCloud, network: dict[str, Any], groups: list[str], claim: Claim, address: str | None
) -> dict[str, Any]:
    """Make a port: so its address is known before the machine is."""
    key = tags.new_key(claim)
    intent = claim.intend("port", key, **cloud.record)
    body: dict[str, Any] = {
        "name": key,
        "description": tags.line(claim),
        "network_id": network["id"],
        "security_groups": groups,
    }
    if network.get("port_security_enabled") is False:
        body.pop("security_groups")
    if address:
        body["fixed_ips"] = [{"ip_address": address}]
    made = resources.make(cloud, "port", key, claim, body)
    intent.made(made["id"])
    return made


def fixed(found: dict[str, Any], version: int) -> str:
    """Return a port's address of an IP version, or an empty text."""
    addresses = [one["ip_address"] for one in found["fixed_ips"]]
    return next((one for one in addresses if ip_address(one).version == version), "")


def floating(cloud: OpenStackCloud, source: OpenStack, port_id: str, claim: Claim) -> str:
    """Lead a floating address to a port: a new one, or the one that the user names.

    Raises:
        DriverError: the named one is in use, or not the project's.
    """
    if source.floating_address:
        return _reused(cloud, source.floating_address, port_id, claim)
    network = one_named(cloud, str(source.floating_network))
    key = tags.new_key(claim)
    intent = claim.intend("floating-address", key, **cloud.record)
    body = {
        "floating_network_id": network["id"],
        "port_id": port_id,
        "description": f"{key} {tags.line(claim)}"[: tags.LONGEST],
    }
    made = resources.make(cloud, "floating-address", key, claim, body)
    intent.made(made["id"])
    return str(made["floating_ip_address"])


def _reused(cloud: OpenStackCloud, address: str, port_id: str, claim: Claim) -> str:
    found = [one for one in resources.every(cloud, "floating-address") if one["floating_ip_address"] == address]
    if not found:
        raise DriverError(f"the project has no floating address {address}")
    if found[0]["port_id"] not in {None, port_id}:
        raise DriverError(f"the floating address {address} is in use", why=f"by the port {found[0]['port_id']}")
    claim.intend("association", found[0]["id"], **cloud.record, port=port_id).made(found[0]["id"])
    lead(cloud, found[0]["id"], port_id)
    return address


def lead(cloud: OpenStackCloud, floating_id: str, port_id: str | None) -> None:
    """Lead a floating address to a port, or nowhere."""
    body = {"floatingip": {"port_id": port_id}}
    cloud.ask("PUT", "network", f"/floatingips/{floating_id}", "lead the floating address", json=body, missing_ok=True)
