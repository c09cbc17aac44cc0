"""Pre-flight: everything that can be seen to go wrong before anything is made, all at once."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bakery.disk.bases.base import Base
from bakery.drivers.openstack.api.cloud import SERVICES, OpenStackAccount, OpenStackCloud, OpenStackClouds, named
from bakery.drivers.openstack.image import upload
from bakery.drivers.openstack.machine import base_images, launch, network, volumes
from bakery.drivers.openstack.options import GlanceImage, GlanceUrl
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import BakeryError
from bakery.model import Artifact, Problem

MORE = {"maxTotalInstances": "servers", "maxTotalCores": "cores", "maxTotalRAMSize": "MiB of memory"}
UNLIMITED = -1
Part = Callable[[OpenStackCloud, OpenStack], Iterator[Problem]]


def account(source: OpenStack) -> OpenStackAccount:
    """Where and as whom a source is built."""
    return OpenStackAccount(cloud=source.cloud, region=source.region, interface=source.interface)


def check(clouds: OpenStackClouds, source: OpenStack) -> Iterator[Problem]:
    """Yield what would stop a build, or only surprise its owner."""
    if (missing_library := _no_library()) is not None:
        yield missing_library
        return
    try:
        cloud = clouds.get(account(source))
        _ = cloud.project
        missing = [name for name in _services(source) if not cloud.has(name)]
    except BakeryError as error:
        yield _problem(error)
        return
    for name in missing:
        yield Problem(what=f"this OpenStack has no service {name.replace('_', ' ')}")
    if missing:
        return
    parts: tuple[Part, ...] = (_start, _places, _zones, _limits, _addresses)
    with ThreadPoolExecutor(len(parts), thread_name_prefix="openstack") as pool:
        looked = list(pool.map(lambda part: _looked(part, cloud, source), parts))
    for found in looked:
        yield from found
    for member, entry in source.accept.items():
        yield from _member(clouds, member, entry)


def _no_library() -> Problem | None:
    if importlib.util.find_spec("openstack") is None:
        return Problem(what="openstacksdk is not installed", hint="pip install imagebakery[openstack]")
    return None


def _looked(part: Part, cloud: OpenStackCloud, source: OpenStack) -> list[Problem]:
    """All that one part finds, up to where the cloud refuses to say more."""
    found: list[Problem] = []
    try:
        found.extend(part(cloud, source))
    except BakeryError as error:
        found.append(_problem(error))
    return found


def _services(source: OpenStack) -> tuple[str, ...]:
    return ("compute", "image", "network", *(("block_storage",) if source.volume else ()))


def _problem(error: BakeryError) -> Problem:
    return Problem(what=error.what, why=error.why, hint=error.hint)


def _start(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """The base, and whether the flavors can run it."""
    match source.base:
        case Base():
            yield from source.base.check()
        case GlanceUrl() if "web-download" not in upload.methods(cloud):
            yield Problem(
                what="this Glance does not fetch images by itself",
                why=f"it can: {', '.join(upload.methods(cloud)) or 'nothing'}",
                hint="CloudImage(...) downloads here and uploads",
            )
        case str() | GlanceImage() | Artifact() if not _from_elsewhere(source):
            image = base_images.resolve(cloud, source.base)  # while the other parts wake up Nova
            yield from _fits(image, launch.flavors(cloud, source.flavors), source)
            return
        case _:
            pass
    launch.flavors(cloud, source.flavors)


def _from_elsewhere(source: OpenStack) -> bool:
    """Whether the base is still to be made by another build, or to be uploaded from another driver's."""
    return isinstance(source.base, Artifact) and source.base.driver != "openstack"


def _fits(image: dict[str, Any], flavors: list[dict[str, Any]], source: OpenStack) -> Iterator[Problem]:
    for flavor in flavors:
        if flavor["ram"] < (image.get("min_ram") or 0):
            yield Problem(what=f"{flavor['name']} has {flavor['ram']} MiB, the base image wants {image['min_ram']}")
        if source.volume or not flavor["disk"]:
            continue
        needed = volumes.least(image, {})
        if flavor["disk"] < needed:
            yield Problem(
                what=f"{flavor['name']} has a disk of {flavor['disk']} GiB, the base image needs {needed}",
                hint=f"OpenStack(volume={needed}) boots from a volume of any size",
            )


def _places(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Networks and security groups; and whether the floating network is one."""
    network.networks(cloud, source)
    network.group_ids(cloud, source)
    if source.floating_network:
        outside = network.one_named(cloud, source.floating_network)
        if not outside.get("router:external"):
            yield Problem(what=f"the network {source.floating_network} gives no floating addresses: it is not external")
    if "0.0.0.0/0" in source.ssh_from:
        yield Problem(what="ssh_from opens port 22 of the build machine to everybody", fatal=False)


def _zones(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    if source.zone:
        answer = cloud.ask("GET", "compute", "/os-availability-zone", "list the zones")
        known = {one["zoneName"] for one in answer["availabilityZoneInfo"] if one["zoneState"]["available"]}
        for zone in source.zones:
            if zone and zone.partition(":")[0] not in known:
                yield Problem(what=f"there is no availability zone {zone!r}", why=f"there are: {', '.join(known)}")


def _limits(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Room in the quota for one more server."""
    limits = cloud.ask("GET", "compute", "/limits", "say the quota")["limits"]["absolute"]
    flavor = launch.flavors(cloud, source.flavors)[0]
    wanted = {"maxTotalInstances": 1, "maxTotalCores": flavor["vcpus"], "maxTotalRAMSize": flavor["ram"]}
    used = {
        "maxTotalInstances": limits.get("totalInstancesUsed", 0),
        "maxTotalCores": limits.get("totalCoresUsed", 0),
        "maxTotalRAMSize": limits.get("totalRAMUsed", 0),
    }
    for name, more in wanted.items():
        most = limits.get(name, UNLIMITED)
        if most != UNLIMITED and used[name] + more > most:
            yield Problem(
                what=f"the quota has no room for {more} more {MORE[name]}", why=f"{used[name]} of {most} are used"
            )


def _addresses(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Room in the network's quota, where the cloud tells us."""
    path = f"/quotas/{cloud.project}/details"
    quota = cloud.ask("GET", "network", path, "say the network's quota", missing_ok=True).get("quota", {})
    wanted = {
        "port": not source.ports,
        "security_group": not (source.security_groups or source.ports),
        "floatingip": bool(source.floating_network),
    }
    for name, needed in wanted.items():
        found = quota.get(name)
        if needed and found and found["limit"] != UNLIMITED and found["used"] + found["reserved"] >= found["limit"]:
            yield Problem(what=f"the quota has no room for one more {name}", why=f"{found['used']} are used")


def _member(clouds: OpenStackClouds, member: str, entry: str) -> Iterator[Problem]:
    """The credentials with which an image is accepted must be those of that member."""
    try:
        project = clouds.get(OpenStackAccount(cloud=entry)).project
    except BakeryError as error:
        yield _problem(error)
        return
    if project != member:
        yield Problem(what=f"accept={{{member!r}: {entry!r}}}: the project of {entry!r} is {project}")


def doctor(clouds: OpenStackClouds, *, offline: bool) -> Iterator[Problem]:
    """Yield what `bake doctor` says."""
    if (missing := _no_library()) is not None:
        yield missing
        return
    try:
        names = named()
        if not names or offline:
            text = f"configured: {', '.join(names)}" if names else "no cloud is configured"
            yield Problem(what=text, hint="" if names else "clouds.yaml, or the OS_* variables", fatal=False)
            return
        if len(names) > 1 and not os.environ.get("OS_CLOUD"):
            yield Problem(what=f"configured: {', '.join(names)}; OS_CLOUD chooses none", fatal=False)
            return
        cloud = clouds.get(OpenStackAccount())
        known = [name.replace("_", " ") for name in SERVICES if cloud.has(name)]
        where = cloud.connection.auth.get("auth_url")
        yield Problem(what=f"logged in at {where}, project {cloud.project}: {', '.join(known)}", fatal=False)
    except BakeryError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint, fatal=False)
