"""From a source or an image to a server that runs, and the address at which it will answer."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import base_images, network, servers, user_data, volumes
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError, PreflightError, RetryableError
from bakery.model import Handle
from bakery.state.claim import Claim


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
"""Ground, and the address at which what stands on it will answer."""


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
        ground, known = ready or (_ground(job, pool), "")
        reach = pool.submit(lambda: known or _opened(job, ground))  # while the server is being built
        server = _first_with_room(job, base.result(), sizes.result(), ground)
        address = reach.result()
    settings = {"source": source.settings(), **cloud.record}
    data = {**cloud.record, "address": address, "host_public": claim.keys.host_public, "volume": server.get("volume")}
    return Handle(
        driver="openstack",
        id=server["id"],
        resource=server["resource"],
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
        ground = _ground(job, pool)
    return ground, _opened(job, ground)


def flavors(cloud: OpenStackCloud, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the flavors by name or id, in the order of preference.

    Raises:
        PreflightError: one is not there.
    """
    known = list(cloud.pages("compute", "/flavors/detail", "flavors", "list the flavors"))
    found: list[dict[str, Any]] = []
    for name in names:
        fitting = [flavor for flavor in known if name in (flavor["id"], flavor["name"])]
        if not fitting:
            raise PreflightError(
                f"there is no flavor {name!r} here", why=f"there are: {', '.join(one['name'] for one in known)}"
            )
        found.append(fitting[0])
    return found


def _keypair(job: ServerJob) -> str:
    """Give Nova our public key, under a name that is ours."""
    key = tags.new_key(job.claim)
    intent = job.claim.intend("keypair", key, **job.cloud.record)
    resources.make(job.cloud, "keypair", key, job.claim, {"name": key, "public_key": job.claim.keys.user_public})
    intent.made(key)
    return key


def _ground(job: ServerJob, pool: ThreadPoolExecutor) -> Prerequisites:
    """Make ports, so that the address is known before the machine is; and at the same time the key pair.

    Raises:
        PreflightError: there is no such network.
    """
    cloud, source, claim = job.cloud, job.source, job.claim
    key = pool.submit(_keypair, job)
    if source.ports:
        found = [_port(cloud, one) for one in source.ports]
        return Prerequisites(keypair=key.result(), ports=source.ports, address=_own(found[0], source), group="")
    places = pool.submit(network.networks, cloud, source)
    group = "" if source.security_groups else network.group(cloud, claim)
    groups = [group] if group else network.group_ids(cloud, source)
    made = [
        network.port(cloud, one, groups, claim, source.fixed_address if number == 0 else None)
        for number, one in enumerate(places.result())
    ]
    ports = tuple(port["id"] for port in made)
    return Prerequisites(keypair=key.result(), ports=ports, address=_own(made[0], source), group=group)


def _opened(job: ServerJob, ground: Prerequisites) -> str:
    """Lead a floating address there if one is wanted, let this host in, and say where the machine will answer."""
    source = job.source
    address = ground.address
    if source.floating_network or source.floating_address:
        floating = network.floating(job.cloud, source, ground.ports[0], job.claim)
        address = floating if source.connect in {None, "floating"} else address
    if ground.group:
        network.open_ssh(job.cloud, ground.group, network.allowed(source, address))
    return address


def _port(cloud: OpenStackCloud, name: str) -> dict[str, Any]:
    found = resources.get(cloud, "port", name)
    if found is None:
        raise PreflightError(f"there is no port {name} here")
    if found.get("device_id"):
        raise PreflightError(f"the port {name} is in use", why=f"by {found['device_id']}")
    return found


def _own(port: dict[str, Any], source: OpenStack) -> str:
    version = network.V6 if source.connect == "ipv6" else network.V4
    address = network.fixed(port, version)
    if not address:
        raise DriverError(f"the port {port['id']} has no IPv{version} address")
    return address


def _first_with_room(
    job: ServerJob, image: Mapping[str, Any], sizes: list[dict[str, Any]], ground: Prerequisites
) -> dict[str, Any]:
    """Try each flavor in each zone until there is room for one.

    Raises:
        RetryableError: there is none; with what each try said.
    """
    said: list[str] = []
    for flavor in sizes:
        for zone in job.source.zones:
            made = _asked(job, image, flavor=flavor, zone=zone, ground=ground)
            refusal = servers.wait_started(job.cloud, made["id"], job.source, job.claim)
            if not refusal:
                return made
            where = f"{flavor['name']} in {zone or 'any zone'}"
            said.append(f"{where}: {refusal}")
            job.claim.notice(f"no room for {where}", hint=refusal)
            volumes.gone(job.cloud, made["id"])
    hint = "name further flavors or zones: OpenStack(flavor=('m1.small', 'm1.medium'))"
    raise RetryableError("OpenStack has no room for the machine", why="\n".join(said), hint=hint)


def _asked(
    job: ServerJob, image: Mapping[str, Any], *, flavor: Mapping[str, Any], zone: str | None, ground: Prerequisites
) -> dict[str, Any]:
    """Ask for one server, with a volume to boot from where one is wanted."""
    cloud, source, claim = job.cloud, job.source, job.claim
    device = volumes.boot_device(cloud, source, image, flavor, claim)
    key = tags.new_key(claim)
    intent = claim.intend("server", key, **cloud.record)
    request: dict[str, Any] = {
        "name": key,
        "flavorRef": flavor["id"],
        "networks": [{"port": port} for port in ground.ports],
        "key_name": ground.keypair,
        "metadata": {**source.metadata, **tags.temporary(claim, key)},
        "user_data": user_data.compose(source, claim),
        "availability_zone": zone,
        "config_drive": source.config_drive,
        **({"block_device_mapping_v2": [device]} if device else {"imageRef": image["id"]}),
        **source.server_options,
    }
    body: dict[str, Any] = {"server": {name: value for name, value in request.items() if value is not None}}
    hints = {**source.hints, **({"group": source.server_group} if source.server_group else {})}
    if hints:
        body["os:scheduler_hints"] = hints
    made = resources.make(cloud, "server", key, claim, body, path="/servers")
    made = made.get("server", made)  # found again by its key, it comes without the wrapping
    resource = intent.made(made["id"])
    # An image whose data are in Cinder boots from a volume of Nova's own making.
    volume = (device or {}).get("uuid") or ("nova" if images.snapshots_of(image) else None)
    return {"id": made["id"], "resource": resource, "volume": volume}
