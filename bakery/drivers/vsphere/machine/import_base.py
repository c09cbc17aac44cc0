"""A machine of an OVF or OVA of this host: read, compared with its manifest, answered what it asks, and imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from bakery.drivers.shared.appliance_files import local_file
from bakery.drivers.shared.ovf_package import OvfPackage, PackageFile, attribute, open_package, unpacked, verify
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.inventory import Entity, Inventory
from bakery.drivers.vsphere.image.import_disk import ImportJob, import_machine
from bakery.drivers.vsphere.machine.machines import MACHINE
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.options import OvfOptions
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import PreflightError
from bakery.model import Resource
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.suggestions import did_you_mean

VMDK = "vmdk"


@dataclass(frozen=True, kw_only=True)
class OvfQuestions:
    """What an OVF asks whoever imports it. None stands for what is not known.

    Args:
        networks: the names of its networks.
        properties: the whole names of those that a user may set.
        deployments: the ids of its configurations.
        licences: whether there are any to agree to.
    """

    networks: tuple[str, ...] | None
    properties: tuple[str, ...] | None
    deployments: tuple[str, ...] | None
    licences: bool


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Where a machine is made, and as what.

    Args:
        name: the machine's.
        known: what there is.
        where: its place.
        folder: pyvmomi's reference to its folder; None where that is still to be made.
    """

    name: str
    known: Inventory
    where: Place
    folder: Any


def questions(package: OvfPackage) -> OvfQuestions:
    """Return what a package's OVF asks.

    Raises:
        PreflightError: it is not the description of one machine with disks that vSphere takes.
    """
    root, name = package.root, package.name
    machines = list(root.iterfind("{*}VirtualSystem"))
    if root.find("{*}VirtualSystemCollection") is not None or len(machines) != 1:
        raise PreflightError(f"the appliance {name} is not of one machine", hint="an image is made of one machine")
    (machine,) = machines
    if machine.find("{*}VirtualHardwareSection") is None:
        raise PreflightError(f"the appliance {name} has no machine", why="its OVF has no VirtualHardwareSection")
    for disk in root.iterfind("{*}DiskSection/{*}Disk"):
        if (form := attribute(disk, "format")) and VMDK not in form.lower():
            raise PreflightError(
                f"the appliance {name} has a disk of another format", why=form, hint="vSphere takes VMDK alone"
            )
    deployments = root.iterfind("{*}DeploymentOptionSection/{*}Configuration")
    return OvfQuestions(
        networks=tuple(attribute(one, "name") for one in root.iterfind("{*}NetworkSection/{*}Network")),
        properties=tuple(_properties(machine)),
        deployments=tuple(attribute(one, "id") for one in deployments),
        licences=next(machine.iterfind("{*}EulaSection"), None) is not None,
    )


def _properties(machine: ET.Element) -> Iterator[str]:
    """Yield the whole names of properties that a user may set: `CLASS.NAME.INSTANCE` (DSP0243, 9.5.1)."""
    for product in machine.iterfind("{*}ProductSection"):
        before, behind = attribute(product, "class"), attribute(product, "instance")
        for one in product.iterfind("{*}Property"):
            if attribute(one, "userConfigurable") in {"true", "1"}:
                yield ".".join(part for part in (before, attribute(one, "key"), behind) if part)


def check_answers(options: OvfOptions, asked: OvfQuestions, name: str) -> None:
    """Compare the user's answers with what an OVF asks.

    Args:
        options: the answers.
        asked: what is asked.
        name: the OVF's, for messages.

    Raises:
        PreflightError: something is answered that is not asked, or a licence is not agreed to.
    """
    given: list[tuple[str, Mapping[str, str], tuple[str, ...] | None]] = [
        ("networks", options.networks, asked.networks),
        ("properties", options.properties, asked.properties),
        ("deployment", {options.deployment: ""} if options.deployment else {}, asked.deployments),
    ]
    for option, answers, known in given:
        if known is not None and (odd := next((one for one in answers if one not in known), None)) is not None:
            raise PreflightError(
                f"OvfOptions({option}=...): {name} asks nothing about {odd!r}",
                why=f"it asks about: {', '.join(known) or 'nothing of the kind'}",
                hint=did_you_mean(odd, known),
            )
    if asked.licences and not options.accept_eulas:
        raise PreflightError(
            f"{name} holds licences to agree to", hint="read them, then ovf=OvfOptions(accept_eulas=True)"
        )


def mapped(source: VSphere, names: tuple[str, ...], known: Inventory, where: Place) -> tuple[tuple[str, Entity], ...]:
    """Return what each of an OVF's networks is here.

    Args:
        source: with the user's answers, and the networks of the first cards, which are joined anew afterwards.
        names: the OVF's networks.
        known: what there is.
        where: the place of the machine.

    Raises:
        PreflightError: a network is not there, or nobody said which of several it shall be.
    """
    below = where.datacenter.path
    here = known.of("network", below)

    def one(name: str) -> Entity:
        if name in source.ovf.networks:
            return known.find("network", source.ovf.networks[name], below, shown="networks=")
        fitting = [network for network in here if network.name == name]
        if len(fitting) == 1:
            return fitting[0]
        if where.networks:
            return where.networks[0]
        if len(here) == 1:
            return here[0]
        raise PreflightError(
            f"which network {name!r} of the OVF shall be here is not said",
            why=f"there are: {', '.join(network.path for network in here) or 'none'}",
            hint=f"network=..., or ovf=OvfOptions(networks={{{name!r}: ...}})",
        )

    return tuple((name, one(name)) for name in names)


def store(known: Inventory, where: Place) -> Entity:
    """Return the datastore that a machine is imported into: the named one, or the only one.

    Raises:
        PreflightError: none is named, and there are several.
    """
    return where.datastore or known.only("datastore", "datastore=", where.datacenter.path)


def import_job(center: VCenter, source: VSphere, package: OvfPackage, goal: Goal, work: WorkContext) -> ImportJob:
    """Return what lets vSphere read an OVF, and then import it.

    Args:
        center: where.
        source: with the user's answers.
        package: what is imported.
        goal: where to, and as what.
        work: can cancel it.

    Raises:
        PreflightError: the package cannot be imported so; with what is wrong.
    """
    asked = questions(package)
    check_answers(source.ovf, asked, package.name)
    where, names = goal.where, asked.networks or ()
    return ImportJob(
        center=center,
        name=goal.name,
        descriptor=package.descriptor,
        pool=where.pool,
        folder=goal.folder,
        store=store(goal.known, where).ref,
        host=where.host.ref if where.host else None,
        networks=mapped(source, names, goal.known, where),
        work=work,
        provisioning=source.ovf.provisioning,
        deployment=source.ovf.deployment,
        properties=dict(source.ovf.properties),
    )


def import_base(center: VCenter, source: VSphere, goal: Goal, claim: Claim) -> tuple[Any, Resource]:
    """Import the appliance that a source names as a machine that is off, under the claim's name; written down first.

    Args:
        center: where.
        source: with an `Appliance` as its base.
        goal: where to.
        claim: the right to make the machine.

    Raises:
        PreflightError: the package is damaged, or asks what is not answered: nothing was made.
        VSphereError: refused.
    """
    package = open_package(local_file(source.base, claim))
    verify(package, claim)
    job = import_job(center, source, package, goal, claim)
    files = _unpacked(package, claim)
    intent = claim.intend(MACHINE, claim.name, **center.record)
    machine = import_machine(job, files, source.launch_timeout)
    return machine, intent.made(moid(machine))


def _unpacked(package: OvfPackage, claim: Claim) -> dict[str, PackageFile]:
    """Return a package's files as vSphere takes them: those that the OVF says are packed are unpacked first."""
    named = package.root.iterfind("{*}References/{*}File")
    packed = {attribute(one, "href"): attribute(one, "compression") for one in named}
    return {
        name: unpacked(file, packed.get(name, ""), claim.folder / f"file-{number}", claim)
        for number, (name, file) in enumerate(package.files.items())
    }
