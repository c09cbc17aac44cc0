"""Pre-flight: everything that can be seen to go wrong before anything is made, all at once."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bakery.disk.bases.base import Base
from bakery.drivers.openstack.api.cloud import SERVICES, OpenStackAccount, OpenStackCloud, OpenStackClouds, named
from bakery.drivers.openstack.image import upload
from bakery.drivers.openstack.machine import base_images, launch, network, volumes
from bakery.drivers.openstack.options import GlanceImage, GlanceUrl
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import BakeryError
from bakery.model import Artifact, Problem
from bakery.util.extras import install_hint

if TYPE_CHECKING:
    from openstack.compute.v2.flavor import Flavor
    from openstack.image.v2.image import Image

UNLIMITED = -1
Part = Callable[[OpenStackCloud, OpenStack], Iterator[Problem]]


def account(source: OpenStack) -> OpenStackAccount:
    """Return where and as whom a source is built."""
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
    parts: tuple[Part, ...] = (_start, _places, _zones, _server_options, _limits, _addresses)
    with ThreadPoolExecutor(len(parts), thread_name_prefix="openstack") as pool:
        problems = list(pool.map(lambda part: _problems(part, cloud, source), parts))
    yield from dict.fromkeys(problem for part_problems in problems for problem in part_problems)
    for member, entry in source.accept.items():
        yield from _member(clouds, member, entry)


def _no_library() -> Problem | None:
    if importlib.util.find_spec("openstack") is None:
        return Problem(what="openstacksdk is not installed", hint=install_hint("openstack"))
    return None


def _problems(part: Part, cloud: OpenStackCloud, source: OpenStack) -> list[Problem]:
    """Return all that one part finds, up to where the cloud refuses to say more."""
    problems: list[Problem] = []
    try:
        problems.extend(part(cloud, source))
    except BakeryError as error:
        problems.append(_problem(error))
    return problems


def _services(source: OpenStack) -> tuple[str, ...]:
    return ("compute", "image", "network", *(("block_storage",) if source.volume else ()))


def _problem(error: BakeryError) -> Problem:
    return Problem(what=error.what, why=error.why, hint=error.hint)


def _start(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Check the base, and whether the flavors can run it."""
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


def _fits(image: Image, flavors: list[Flavor], source: OpenStack) -> Iterator[Problem]:
    for flavor in flavors:
        if flavor.ram < (image.min_ram or 0):
            yield Problem(what=f"{flavor.name} has {flavor.ram} MiB, the base image wants {image.min_ram}")
        if source.volume or not flavor.disk:
            continue
        needed = volumes.least(image)
        if flavor.disk < needed:
            yield Problem(
                what=f"{flavor.name} has a disk of {flavor.disk} GiB, the base image needs {needed}",
                hint=f"OpenStack(volume={needed}) boots from a volume of any size",
            )


def _places(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Networks and security groups; and whether the floating network is one."""
    network.networks(cloud, source)
    network.group_ids(cloud, source)
    if source.floating_network:
        outside = network.network_named(cloud, source.floating_network)
        if not outside.is_router_external:
            yield Problem(what=f"the network {source.floating_network} gives no floating addresses: it is not external")
    if "0.0.0.0/0" in source.ssh_from:
        yield Problem(what="ssh_from opens port 22 of the build machine to everybody", fatal=False)


def _zones(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    if source.zone:
        zones = cloud.call("compute", "list the zones", lambda compute: list(compute.availability_zones()))
        known = sorted(zone.name for zone in zones if zone.state["available"])
        for zone in source.zones:
            if zone and zone.partition(":")[0] not in known:
                yield Problem(what=f"there is no availability zone {zone!r}", why=f"there are: {', '.join(known)}")


def _server_options(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Raw fields that openstacksdk would drop without a word."""
    del cloud
    if unknown := launch.unknown_options(source.server_options):
        yield Problem(
            what=f"server_options: openstacksdk's server has no field {', '.join(map(repr, unknown))}",
            hint="docs.openstack.org/openstacksdk, Compute, Server lists them; Nova's own names will do too",
        )


def _limits(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Room in the quota for one more server."""
    limits = cloud.call("compute", "say the quota", lambda compute: compute.get_limits().absolute)
    flavor = launch.flavors(cloud, source.flavors)[0]
    wanted = (
        ("servers", 1, limits.instances_used, limits.instances),
        ("cores", flavor.vcpus, limits.total_cores_used, limits.total_cores),
        ("MiB of memory", flavor.ram, limits.total_ram_used, limits.total_ram),
    )
    for what, more, used, most in wanted:
        if most not in {None, UNLIMITED} and (used or 0) + more > most:
            yield Problem(what=f"the quota has no room for {more} more {what}", why=f"{used or 0} of {most} are used")


def _addresses(cloud: OpenStackCloud, source: OpenStack) -> Iterator[Problem]:
    """Room in the network's quota, where the cloud tells us."""
    project = cloud.project
    quota = cloud.find("network", "say the network's quota", lambda network: network.get_quota(project, details=True))
    if quota is None:
        return
    wanted = {
        "port": (not source.ports, quota.ports),
        "security_group": (not (source.security_groups or source.ports), quota.security_groups),
        "floatingip": (bool(source.floating_network), quota.floating_ips),
    }
    for name, (needed, room) in wanted.items():
        if needed and room and room["limit"] != UNLIMITED and room["used"] + room["reserved"] >= room["limit"]:
            yield Problem(what=f"the quota has no room for one more {name}", why=f"{room['used']} are used")


def _member(clouds: OpenStackClouds, member: str, entry: str) -> Iterator[Problem]:
    """Check that the credentials with which an image is accepted are those of that member."""
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
            hint = f"export OS_CLOUD={names[0]}; a source says cloud=..."
            yield Problem(what=f"configured: {', '.join(names)}; none is asked", hint=hint, fatal=False)
            return
        cloud = clouds.get(OpenStackAccount())
        known = [name.replace("_", " ") for name in SERVICES if cloud.has(name)]
        where = cloud.connection.auth.get("auth_url")
        yield Problem(what=f"logged in at {where}, project {cloud.project}: {', '.join(known)}", fatal=False)
    except BakeryError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint, fatal=False)
