"""From a source or an image to a server that runs, and the address at which it will answer."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import base_images, network, servers, user_data, volumes
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared import host_keys
from bakery.errors import DriverError, PreflightError, RetryableError
from bakery.model import Handle, Resource
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.compute.v2.flavor import Flavor
    from openstack.image.v2.image import Image
    from openstack.network.v2.port import Port


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerJob:
    """One machine's making: where, what the user asked for, and the right to make things."""

    cloud: OpenStackCloud
    source: OpenStack
    claim: Claim


@dataclass(frozen=True, kw_only=True)
class Prerequisites:
    """What a machine needs before it is: its login key, and its place in the network.

    Args:
        keypair: its name.
        ports: their ids.
        address: the first port's own.
        group: the security group's id, where it is ours.
    """

    keypair: str
    ports: tuple[str, ...]
    address: str
    group: str


Ready = tuple[Prerequisites, str]
"""What a machine needs, and the address at which it will answer."""


def launch(job: ServerJob, ready: Ready | None = None) -> Handle:
    """Start a machine.

    Args:
        job: which.
        ready: what was made for it beforehand.

    Raises:
        PreflightError: there is no such base, flavor or network.
        OpenStackError: the cloud said no; `OpenStackRetryableError` where asking again may help.
    """
    cloud, source, claim = job.cloud, job.source, job.claim
    with ThreadPoolExecutor(6, thread_name_prefix="openstack") as pool:
        base = pool.submit(base_images.at_hand, cloud, source, claim)
        sizes = pool.submit(flavors, cloud, source.flavors)
        prerequisites, known = ready or (_prepare(job, pool), "")
        opened = pool.submit(lambda: known or _open(job, prerequisites))  # while the server is being built
        server = _first_with_room(job, base.result(), sizes.result(), prerequisites)
        address = opened.result()
    settings = {"source": source.settings(), **cloud.record}
    data = {**cloud.record, "address": address, "host_public": host_keys.given(claim), "volume": server.volume}
    return Handle(
        driver="openstack",
        id=server.id,
        resource=server.resource,
        folder=claim.folder,
        settings=settings,
        data=data,
    )


def prepare_launch(job: ServerJob) -> Ready:
    """Make all that a machine needs besides its image.

    Raises:
        PreflightError, OpenStackError: as `launch`.
    """
    with ThreadPoolExecutor(3, thread_name_prefix="openstack") as pool:
        prerequisites = _prepare(job, pool)
    return prerequisites, _open(job, prerequisites)


def flavors(cloud: OpenStackCloud, names: tuple[str, ...]) -> list[Flavor]:
    """Return the flavors by name or id, in the order of preference.

    Raises:
        PreflightError: one is not there.
    """
    known: list[Flavor] = cloud.call("compute", "list the flavors", lambda compute: list(compute.flavors()))
    preferred: list[Flavor] = []
    for name in names:
        fitting = [flavor for flavor in known if name in (flavor.id, flavor.name)]
        if not fitting:
            raise PreflightError(
                f"there is no flavor {name!r} here", why=f"there are: {', '.join(flavor.name for flavor in known)}"
            )
        preferred.append(fitting[0])
    return preferred


def unknown_options(options: Mapping[str, Any]) -> list[str]:
    """Return those of the raw fields for a server that openstacksdk does not know, and would drop without a word.

    Args:
        options: by openstacksdk's names or Nova's.
    """
    from openstack.compute.v2.server import Server

    server = Server()
    return sorted(set(options) - {*server.to_dict(), *server.to_dict(original_names=True)})


def _keypair(job: ServerJob) -> str:
    """Give Nova our public key, under a name that is ours."""
    key, public = tags.new_key(job.claim), job.claim.keys.user_public
    intent = job.claim.intend("keypair", key, **job.cloud.record)
    resources.create(
        job.cloud, "keypair", key, job.claim, lambda compute: compute.create_keypair(name=key, public_key=public)
    )
    intent.made(key)
    return key


def _prepare(job: ServerJob, pool: ThreadPoolExecutor) -> Prerequisites:
    """Make ports, so that the address is known before the machine is; and at the same time the key pair.

    Raises:
        PreflightError: there is no such network.
    """
    cloud, source, claim = job.cloud, job.source, job.claim
    key = pool.submit(_keypair, job)
    if source.ports:
        theirs = [_unused_port(cloud, name) for name in source.ports]
        return Prerequisites(keypair=key.result(), ports=source.ports, address=_address(theirs[0], source), group="")
    networks = pool.submit(network.networks, cloud, source)
    group = "" if source.security_groups else network.group(cloud, claim)
    groups = [group] if group else network.group_ids(cloud, source)
    ports = [
        network.port(cloud, place, groups, claim, source.fixed_address if number == 0 else None)
        for number, place in enumerate(networks.result())
    ]
    ids = tuple(port.id for port in ports)
    return Prerequisites(keypair=key.result(), ports=ids, address=_address(ports[0], source), group=group)


def _open(job: ServerJob, prerequisites: Prerequisites) -> str:
    """Lead a floating address there if one is wanted, let this host in, and return where the machine will answer."""
    source = job.source
    address = prerequisites.address
    if source.floating_network or source.floating_address:
        floating = network.floating(job.cloud, source, prerequisites.ports[0], job.claim)
        address = floating if source.connect in {None, "floating"} else address
    if prerequisites.group:
        network.open_ssh(job.cloud, prerequisites.group, network.allowed(source, address))
    return address


def _unused_port(cloud: OpenStackCloud, name: str) -> Port:
    port: Port | None = resources.get(cloud, "port", name)
    if port is None:
        raise PreflightError(f"there is no port {name} here")
    if port.device_id:
        raise PreflightError(f"the port {name} is in use", why=f"by {port.device_id}")
    return port


def _address(port: Port, source: OpenStack) -> str:
    """Return the port's address of the version that we connect over."""
    version = network.V6 if source.connect == "ipv6" else network.V4
    address = network.fixed(port, version)
    if not address:
        raise DriverError(f"the port {port.id} has no IPv{version} address")
    return address


@dataclass(frozen=True, kw_only=True)
class LaunchedServer:
    """A server that was asked for.

    Args:
        id: Nova's.
        resource: its record.
        volume: what it boots from: a volume's id, `nova` for one of Nova's own making, None for the flavor's disk.
    """

    id: str
    resource: Resource
    volume: str | None


def _first_with_room(job: ServerJob, image: Image, sizes: list[Flavor], prerequisites: Prerequisites) -> LaunchedServer:
    """Try each flavor in each zone until there is room for one.

    Raises:
        RetryableError: there is none; with what each try said.
    """
    refusals: list[str] = []
    for flavor in sizes:
        for zone in job.source.zones:
            server = _create(job, image, flavor=flavor, zone=zone, prerequisites=prerequisites)
            refusal = servers.wait_started(job.cloud, server.id, job.source, job.claim)
            if not refusal:
                return server
            where = f"{flavor.name} in {zone or 'any zone'}"
            refusals.append(f"{where}: {refusal}")
            job.claim.notice(f"no room for {where}", hint=refusal)
            volumes.gone(job.cloud, server.id)
    hint = "name further flavors or zones: OpenStack(flavor=('m1.small', 'm1.medium'))"
    raise RetryableError("OpenStack has no room for the machine", why="\n".join(refusals), hint=hint)


def _create(
    job: ServerJob, image: Image, *, flavor: Flavor, zone: str | None, prerequisites: Prerequisites
) -> LaunchedServer:
    """Ask for one server, with a volume to boot from where one is wanted."""
    cloud, claim = job.cloud, job.claim
    device = volumes.boot_device(cloud, job.source, image, flavor, claim)
    key = tags.new_key(claim)
    intent = claim.intend("server", key, **cloud.record)
    boot = {"block_device_mapping_v2": [device]} if device else {"imageRef": image.id}
    attributes = server_attributes(
        job.source, claim, key, flavor=flavor.id, zone=zone, prerequisites=prerequisites, boot=boot
    )
    created = resources.create(cloud, "server", key, claim, lambda compute: compute.create_server(**attributes))
    # An image whose data are in Cinder boots from a volume of Nova's own making.
    volume = (device or {}).get("uuid") or ("nova" if images.snapshots_of(image) else None)
    return LaunchedServer(id=created.id, resource=intent.made(created.id), volume=volume)


def server_attributes(
    source: OpenStack,
    claim: Claim,
    key: str,
    *,
    flavor: str,
    zone: str | None,
    prerequisites: Prerequisites,
    boot: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `create_server` is asked for, by Nova's names; the user's raw fields are laid over ours.

    Args:
        source: what the user asked for.
        claim: for the marks and keys.
        key: our name for the server.
        flavor: its id.
        zone: an availability zone, or None for the cloud's choice.
        prerequisites: key pair and ports.
        boot: the image, or the block device.
    """
    hints = {**source.hints, **({"group": source.server_group} if source.server_group else {})}
    attributes: dict[str, Any] = {
        "name": key,
        "flavorRef": flavor,
        "networks": [{"port": port} for port in prerequisites.ports],
        "key_name": prerequisites.keypair,
        "metadata": {**source.metadata, **tags.temporary(claim, key)},
        "user_data": user_data.compose(source, claim),
        "availability_zone": zone,
        "config_drive": source.config_drive,
        "scheduler_hints": hints or None,
        **boot,
        **source.server_options,
    }
    return {name: value for name, value in attributes.items() if value is not None}
