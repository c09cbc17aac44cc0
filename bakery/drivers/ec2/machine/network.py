"""Where a machine is put, and who may reach it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.create_once import make
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.options import Filter
from bakery.drivers.ec2.source import Ec2
from bakery.drivers.shared.settings import words
from bakery.errors import DriverError, PreflightError
from bakery.model import Resource
from bakery.state.claim import Claim

CHECKIP = "https://checkip.amazonaws.com"
SSH = 22


@dataclass(frozen=True, kw_only=True)
class SubnetChoice:
    """A subnet to try."""

    subnet: str
    vpc: str
    zone: str


def places(cloud: Ec2Cloud, source: Ec2) -> list[SubnetChoice]:
    """Return the subnets to try, in order, all of one VPC.

    Raises:
        PreflightError: none fits.
    """
    found = list(cloud.pages("describe_subnets", "Subnets", **_question(cloud, source)))
    zones = words(source.zone)
    if zones:
        found = [subnet for subnet in found if subnet["AvailabilityZone"] in zones]
    if not found:
        raise PreflightError(
            f"no subnet in {cloud.region} fits",
            why=f"subnet={source.subnet!r}, vpc={source.vpc!r}, zone={source.zone!r}",
            hint="an account without a default VPC must name a subnet: Ec2(subnet='subnet-...')",
        )
    ordered = _ordered(found, source)
    vpc = ordered[0]["VpcId"]
    return [
        SubnetChoice(subnet=subnet["SubnetId"], vpc=vpc, zone=subnet["AvailabilityZone"])
        for subnet in ordered
        if subnet["VpcId"] == vpc
    ]


def _question(cloud: Ec2Cloud, source: Ec2) -> dict[str, Any]:
    match source.subnet:
        case Filter(filters=conditions):
            return {"Filters": tags.filters(conditions)}
        case str() | tuple():
            return {"SubnetIds": list(words(source.subnet))}
    match source.vpc:
        case Filter(filters=conditions):
            vpcs = [vpc["VpcId"] for vpc in cloud.pages("describe_vpcs", "Vpcs", Filters=tags.filters(conditions))]
            return {"Filters": tags.filters({"vpc-id": vpcs or ["none"]})}
        case str():
            return {"Filters": tags.filters({"vpc-id": source.vpc})}
    return {"Filters": tags.filters({"default-for-az": "true"})}


def _ordered(subnets: list[dict[str, Any]], source: Ec2) -> list[dict[str, Any]]:
    """By the user's order of ids, then of zones, then those with most free addresses (or at random)."""
    ids = words(source.subnet) if isinstance(source.subnet, str | tuple) else ()
    zones = words(source.zone)
    if isinstance(source.subnet, Filter) and source.subnet.pick == "random":
        random.shuffle(subnets)
        return subnets
    return sorted(
        subnets,
        key=lambda subnet: (
            ids.index(subnet["SubnetId"]) if ids else 0,
            zones.index(subnet["AvailabilityZone"]) if zones else 0,
            -int(subnet.get("AvailableIpAddressCount", 0)),
        ),
    )


def named_groups(cloud: Ec2Cloud, source: Ec2, vpc: str) -> tuple[str, ...]:
    """Return the ids of the user's security groups; none where the machine is to have one of its own.

    Raises:
        PreflightError: a filter finds none in this VPC.
    """
    match source.security_groups:
        case Filter(filters=conditions):
            asked = tags.filters({**conditions, "vpc-id": vpc})
            found = cloud.pages("describe_security_groups", "SecurityGroups", Filters=asked)
            ids = tuple(sorted(str(one["GroupId"]) for one in found))
            if not ids:
                raise PreflightError(f"no security group in {vpc} fits", why=f"{dict(conditions)}")
            return ids
        case ids:
            return ids


def group(cloud: Ec2Cloud, source: Ec2, vpc: str, claim: Claim) -> Resource:
    """Make a security group that lets in nobody but `ssh_from`, and with Session Manager nobody at all."""
    key = tags.new_key(claim)
    networks = () if source.connect == "ssm" else allowed(cloud, source)
    intent = claim.intend("security-group", key, **cloud.record)

    def ask() -> str:
        answer = cloud.call(
            "create_security_group",
            "make a security group",
            once=True,
            GroupName=key,
            Description=f"temporary, for {claim.name}",
            VpcId=vpc,
            TagSpecifications=tags.specification(tags.temporary(claim, key, source.run_tags), "security-group"),
        )
        return str(answer["GroupId"])

    resource = intent.made(make(cloud, "security-group", key, claim, ask))
    if networks:
        _open(cloud, str(resource.id), [_permission(networks, claim)])
    return resource


def _open(cloud: Ec2Cloud, group: str, permissions: list[dict[str, Any]]) -> None:
    """Let them in; that it was done already is the answer to a question whose first answer was lost."""
    try:
        cloud.call("authorize_security_group_ingress", "open port 22", GroupId=group, IpPermissions=permissions)
    except Ec2Error as error:
        if code_of(error) != "InvalidPermission.Duplicate":
            raise


def _permission(networks: Iterable[str], claim: Claim) -> dict[str, Any]:
    v4 = [one for one in networks if ip_network(one).version == 4]  # noqa: PLR2004  IP's own number
    v6 = [one for one in networks if one not in v4]
    return {
        "IpProtocol": "tcp",
        "FromPort": SSH,
        "ToPort": SSH,
        "IpRanges": [{"CidrIp": one, "Description": claim.name} for one in v4],
        "Ipv6Ranges": [{"CidrIpv6": one, "Description": claim.name} for one in v6],
    }


def allowed(cloud: Ec2Cloud, source: Ec2) -> tuple[str, ...]:
    """Return the networks that may reach port 22.

    Raises:
        DriverError: this host's address cannot be found out.
        PreflightError: what the user gave is not a network.
    """
    given = words(source.ssh_from)
    try:
        return tuple(str(ip_network(one)) for one in (_own(cloud, source) if given == ("auto",) else given))
    except ValueError as error:
        raise PreflightError(f"Ec2(ssh_from={source.ssh_from!r}): {error}", hint="as in '203.0.113.0/24'") from error


def _own(cloud: Ec2Cloud, source: Ec2) -> tuple[str, ...]:
    """Return this host's address as the machine sees it: local towards a private one, else what a web service sees."""
    api = urlsplit(cloud.endpoint("ec2") or "").hostname or ""
    if api == "localhost" or api.startswith("127."):
        return ("127.0.0.1/32",)
    if source.connect == "private":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("10.255.255.255", 9))  # sends nothing: only asks the routing table
            return (f"{probe.getsockname()[0]}/32",)
    return (_seen(),)


def _seen() -> str:
    import httpx

    try:
        answer = httpx.get(CHECKIP, timeout=10).raise_for_status().text.strip()
        found = ip_address(answer)
    except (httpx.HTTPError, ValueError) as error:
        raise DriverError(
            "could not find out this host's address", why=f"{CHECKIP}: {error}", hint="Ec2(ssh_from='203.0.113.7/32')"
        ) from error
    return f"{found}/{found.max_prefixlen}"
