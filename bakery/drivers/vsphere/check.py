"""Pre-flight: everything that can be seen to go wrong before anything is made, all at once."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.appliance_files import local_file
from bakery.drivers.shared.ovf_package import open_package
from bakery.drivers.vsphere import check_library, esxi, privileges
from bakery.drivers.vsphere.api import inventory, marks, tags, types
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import VCenter, VCenters, moid
from bakery.drivers.vsphere.guest import endpoint as guest
from bakery.drivers.vsphere.image.import_disk import read_ovf
from bakery.drivers.vsphere.machine import (
    base_images,
    copy_machine,
    customization,
    deploy_item,
    hardware,
    launch,
    machines,
    more_hardware,
    place,
)
from bakery.drivers.vsphere.machine.base_images import CloneBase
from bakery.drivers.vsphere.machine.import_base import Goal, import_job
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.options import LibraryItem
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import BakeryError, DriverError, PreflightError
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.extras import install_hint
from bakery.util.units import format_size

OLDEST, OLDEST_WITH_TPM = (6, 5), (6, 7)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What pre-flight found of a source's names."""

    center: VCenter
    source: VSphere
    base: CloneBase | None
    where: Place
    known: inventory.Inventory


def check(centers: VCenters, source: VSphere) -> Iterator[Problem]:
    """Yield what would stop a build, or only surprise its owner."""
    if (missing_library := _no_library()) is not None:
        yield missing_library
        return
    yield from guest.problems(source)
    try:
        center = centers.of_source(source)
    except BakeryError as error:
        yield _problem(error)
        return
    yield from _insecure(center.account)
    yield from _age(center, source)
    if not center.is_vcenter and (missing := list(esxi.problems(source))):
        yield from missing
        return
    yield from _all(center, source)


def _no_library() -> Problem | None:
    if importlib.util.find_spec("pyVmomi") is None:
        return Problem(what="pyvmomi is not installed", hint=install_hint("vmware"))
    return None


def _age(center: VCenter, source: VSphere) -> Iterator[Problem]:
    """Look whether the server is old enough to miss what is asked for: pyvmomi would leave it out without a word."""
    text = str(center.content.about.apiVersion)
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if version < OLDEST:
        yield Problem(what=f"vSphere {text} is too old", why="the oldest that can be built on is 6.5")
    elif source.tpm and version < OLDEST_WITH_TPM:
        yield Problem(what=f"vSphere {text} has no virtual TPM", why="it came with 6.7", hint="without tpm=True")


def _insecure(account: VSphereAccount) -> Iterator[Problem]:
    if account.insecure:
        yield Problem(
            what=f"the certificate of {account.server} is not verified",
            why="insecure=True, VSPHERE_ALLOW_UNVERIFIED_SSL or GOVC_INSECURE says so: whoever stands between can read "
            "the password",
            hint="ca=... names the file of the authority that signed it",
            fatal=False,
        )


def _all(center: VCenter, source: VSphere) -> Iterator[Problem]:
    """Look the names up, then at what they name; a name that is missing hides only what depends on it."""
    problems: list[Problem] = []
    known = inventory.read(center, machines=True)
    base = None if source.publishes else _tried(problems, lambda: _base(center, source, known))
    found_before = len(problems)
    where = _tried(
        problems, lambda: place.find(center, source, base, known, attempt=lambda look: _tried(problems, look))
    )
    yield from problems
    if where is None or len(problems) > found_before:
        return
    found = Found(center=center, source=source, base=base, where=where, known=known)
    for part in (_clone, _import, _networks, _folder, _host, _room, _library, _tags, _customization, _privileges):
        yield from _part(part, found)


def _tried(problems: list[Problem], look: Callable[[], Any]) -> Any:
    try:
        return look()
    except BakeryError as error:
        problems.append(_problem(error))
        return None


def _part(part: Callable[[Found], Iterator[Problem]], found: Found) -> list[Problem]:
    problems: list[Problem] = []
    try:
        problems.extend(part(found))
    except BakeryError as error:
        problems.append(_problem(error))
    return problems


def _problem(error: BakeryError) -> Problem:
    return Problem(what=error.what, why=error.why, hint=error.hint)


def _base(center: VCenter, source: VSphere, known: inventory.Inventory) -> CloneBase | None:
    return base_images.cloned(center, source.base, known)


def _clone(found: Found) -> Iterator[Problem]:
    if found.base is not None:
        launch.linked(found.source, found.base)
        if not found.center.is_vcenter:
            copy_machine.config_of(found.center, found.base)
        more_hardware.check_version(found.source.hardware, found.base.values.get("config.version"))
        kind = types.vim().vm.device.VirtualEthernetCard.NetworkBackingInfo
        joined = [kind(deviceName=network.name) for network in found.where.networks]
        hardware.config(found.source, joined, found.base.devices)
    yield from ()


def _import(found: Found) -> Iterator[Problem]:
    """Let vSphere read the OVF, wherever it is; what is downloaded is looked at when it is there."""
    source = found.source
    if isinstance(source.base, Appliance) and not source.base.remote:
        work = WorkContext(cache=Path())
        goal = Goal(name="bakery", known=found.known, where=found.where, folder=None)
        package = open_package(local_file(replace(source.base, sha256=""), work))
        for warning in read_ovf(import_job(found.center, source, package, goal, work)).warning or ():
            yield Problem(what=f"vSphere says of {package.name}: {warning.msg}", fatal=False)
    if isinstance(source.base, LibraryItem):
        goal = Goal(name="bakery", known=found.known, where=found.where, folder=None)
        deploy_item.request(found.center, source, deploy_item.find(found.center, source), goal)


def _networks(found: Found) -> Iterator[Problem]:
    for network in found.where.networks:
        hardware.backing(found.center, network)
    yield from ()


def _folder(found: Found) -> Iterator[Problem]:
    if found.where.path and place.existing_folder(found.center, found.where) is None:
        path = "/".join((found.where.datacenter.path, "vm", *found.where.path))
        yield Problem(what=f"the folder {path} is not there and will be made", fatal=False)


def _host(found: Found) -> Iterator[Problem]:
    host = found.where.host
    if host is None:
        return
    values = found.center.properties(host.ref, "runtime.inMaintenanceMode", "runtime.connectionState") or {}
    if values.get("runtime.inMaintenanceMode"):
        yield Problem(what=f"the host {host.name} is in maintenance mode", hint="host=... names another one")
    if (state := str(values.get("runtime.connectionState", "connected"))) != "connected":
        yield Problem(what=f"the host {host.name} is {state}", hint="host=... names another one")


def _room(found: Found) -> Iterator[Problem]:
    """Look for room for the machine, and for its clone that is tested."""
    store = found.where.datastore
    if store is None:
        return
    summary = (found.center.properties(store.ref, "summary") or {}).get("summary")
    if summary is None:
        return
    if not summary.accessible:
        yield Problem(what=f"the datastore {store.name} is not accessible now")
    copies = 1 if found.source.image == "snapshot" else 2
    taken = _size(found)
    wanted = copies * (taken + sum(disk.bytes for disk in found.source.disks if not disk.thin))
    if wanted > summary.freeSpace:
        yield Problem(
            what=f"the datastore {store.name} has no room",
            why=f"the machine and its clone take {format_size(wanted)}, {format_size(summary.freeSpace)} are free",
        )


def _tags(found: Found) -> Iterator[Problem]:
    if found.source.tag_names:
        yield from tags.problems(found.center, found.source.tag_names, make=found.source.make_tags)


def _customization(found: Found) -> Iterator[Problem]:
    if isinstance(name := found.source.customization, str):
        customization.named(found.center, name)
    yield from ()


def _privileges(found: Found) -> Iterator[Problem]:
    yield from privileges.problems(found.center, found.source, found.base, found.where)


def _size(found: Found) -> int:
    """Return how many bytes the base has; 0 where that cannot be known yet."""
    base = found.source.base
    if found.base is not None:
        return int(found.base.values.get("summary.storage.committed") or 0)
    if isinstance(base, Appliance) and not base.remote:
        with contextlib.suppress(PreflightError):  # which `_import` says
            return sum(file.size for file in open_package(Path(base.location).absolute()).files.values())
    return 0


def _library(found: Found) -> Iterator[Problem]:
    yield from check_library.check(found.center, found.source)


def name_conflicts(centers: VCenters, source: VSphere, name: str) -> Iterator[Problem]:
    """Say what has the image's name already, and is not an older image of ours."""
    if source.image == "ova":  # its name is a file's
        return
    try:
        center = centers.of_source(source)
        if source.library:
            yield from check_library.name_conflicts(center, source, name)
            return
        known = inventory.read(center, machines=True)
        base = _tried([], lambda: _base(center, source, known))
        where = place.find(center, source, base, known)
        folder = place.existing_folder(center, where)
    except BakeryError:  # which `check` says
        return
    if folder is None:
        return
    read = marks.Reader(center)
    for machine in machines.in_folder(center, folder, name):
        carried = read.of(center.properties(machine, *marks.PATHS) or {})
        if carried.get(marks.IMAGE) != name:
            yield Problem(
                what=f"the name {name} is taken in {where.datacenter.path} by a machine that bakery did not make",
                why=f"machine {moid(machine)}",
                hint="rename it, or give the image another name, or folder=...",
            )


def doctor(centers: VCenters, *, offline: bool) -> Iterator[Problem]:
    """Say which vSphere the environment means, and whether it lets us in."""
    if (missing := _no_library()) is not None:
        yield missing
        return
    try:
        account = VSphereAccount().resolved()
    except DriverError:
        hint = "VSPHERE_SERVER, VSPHERE_USER and VSPHERE_PASSWORD, or GOVC_*"
        yield Problem(what="no vSphere is named by the environment", hint=hint, fatal=False)
        return
    if offline:
        yield Problem(what=f"vSphere {account.server} (not asked: --offline)", fatal=False)
        return
    try:
        center = centers.get(VSphereAccount())
    except BakeryError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint or "VSPHERE_SERVER, VSPHERE_USER", fatal=False)
        return
    yield Problem(what=f"{center.content.about.fullName} at {account.server} lets {account.username} in", fatal=False)
    yield from _insecure(center.account)
