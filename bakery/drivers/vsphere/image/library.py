"""From a machine that is off to an item of a content library: an OVF, or a machine's template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from bakery.drivers.shared.create_once import create_once
from bakery.drivers.vsphere.api import libraries, marks
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError
from bakery.drivers.vsphere.api.rest import messages
from bakery.drivers.vsphere.image import capture
from bakery.drivers.vsphere.image.capture import IMAGE
from bakery.drivers.vsphere.machine import machines
from bakery.drivers.vsphere.machine.deploy_item import OVFS, TEMPLATES
from bakery.drivers.vsphere.machine.power import Shutdown
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Artifact, Handle, Resource
from bakery.state.claim import Claim
from bakery.util.waiting import interruptible

ITEM: Final = "library item"
"""The journal's word for an item that is not the user's yet."""
OVF: Final = "library-ovf"
TEMPLATE: Final = "library-template"
FORMATS: Final = frozenset({OVF, TEMPLATE})
"""What `image=` is for an item, and the format of its artifact."""


@dataclass(frozen=True, kw_only=True)
class ItemJob:
    """What is written into a library.

    Args:
        center: where.
        source: what the user asked for.
        machine: pyvmomi's reference to the machine, off.
        claim: ends the wait when cancelled.
    """

    center: VCenter
    source: VSphere
    machine: Any
    claim: Claim

    def ask(self, what: str, path: str, body: Any) -> Any:
        """Ask for something to which vCenter answers when it is done."""
        self.claim.waiting(f"vSphere is to {what}")
        return interruptible(
            lambda: self.center.rest(what, "POST", path, body, timeout=self.source.image_timeout, repeat=False),
            self.claim.cancel,
            discard=lambda _: None,  # it is found by its name, and destroyed
        )


def capture_item(center: VCenter, handle: Handle, name: str, claim: Claim) -> Artifact:
    """Power the machine off through its guest, take out what was for the build, and make an item of it.

    The item has a temporary name. Of an OVF the machine stays until the image is kept: it is what a new version of an
    older item is made of.

    Raises:
        PreflightError: there is no such library.
        DriverError: the machine does not stop, or vSphere refuses.
    """
    source = VSphere.from_settings(handle.settings["source"], base=None)
    job = ItemJob(center=center, source=source, machine=center.machine(handle.data["machine"]), claim=claim)
    library = libraries.find_library(center, str(source.library))
    Shutdown(center, handle).wait(source, claim)
    if source.image == OVF:
        key = marks.new_name(claim)
        intent = claim.intend(IMAGE, key, **center.record)
        capture.clean(center, job.machine, source, claim, key)
        machines.rename(center, job.machine, key, claim)
        intent.made(moid(job.machine))
        return write_item(job, library, name, ends=True)
    capture.clean(center, job.machine, source, claim, handle.resource.key)
    return write_item(job, library, name, ends=False)


def write_item(job: ItemJob, library: str, name: str, *, ends: bool) -> Artifact:
    """Make an item of a machine that is off, under a temporary name.

    Args:
        job: what.
        library: the library's id.
        name: what the image will be called once it is kept.
        ends: whether the machine is the image's, and ends when that is kept.
    """
    key, source = marks.new_name(job.claim), job.source
    item = _create(job, library, key, name)
    return Artifact(
        driver="vsphere",
        id=str(item.id),
        name=name,
        format=source.image,
        settings={
            "source": source.settings(),
            **job.center.record,
            "library": source.library,
            "item": key,
            "datastore": machines.datastore(job.center, job.machine),
        },
        data={"machine": moid(job.machine) if ends else "", "library": library},
        created=datetime.now(UTC),
    )


def _create(job: ItemJob, library: str, key: str, final: str) -> Resource:
    """Make the item under a temporary name, once; written down first, with its final one."""
    center, claim = job.center, job.claim
    intent = claim.intend(ITEM, key, library=library, final=final, **center.record)
    words = {"name": key, "description": marks.notes(job.source.notes, marks.temporary(claim, key))}
    if job.source.image == OVF:
        make = partial(store_ovf, job, {"library_id": library}, words)
    else:
        make = partial(_store_template, job, library, words)
    looked_up = partial(libraries.items_called, center, library, key)
    return intent.made(create_once(make, looked_up, claim, on=VSphereRetryableError))


def store_ovf(job: ItemJob, target: Mapping[str, str], words: Mapping[str, str]) -> str:
    """Let vCenter write a machine as an OVF into a library, and return the item's id.

    Args:
        job: what.
        target: `library_id` for a new item, `library_item_id` for a new version of one.
        words: its name and description.

    Raises:
        VSphereError: refused.
    """
    flags = ["EXTRA_CONFIG"] if job.source.extra_config else []
    body = {
        "source": {"type": "VirtualMachine", "id": moid(job.machine)},
        "target": dict(target),
        "create_spec": {**words, "flags": flags},
    }
    what = "write the machine into the content library"
    answer = job.ask(what, OVFS, body) or {}
    if not answer.get("succeeded") or not answer.get("ovf_library_item_id"):
        raise VSphereError(f"vSphere did not {what}", why="; ".join(messages(answer.get("error"))) or "no explanation")
    return str(answer["ovf_library_item_id"])


def _store_template(job: ItemJob, library: str, words: Mapping[str, str]) -> str:
    """Let vCenter copy a machine into a template that belongs to an item, and return the item's id."""
    values = job.center.properties(job.machine, "parent", "resourcePool", "datastore") or {}
    spec: dict[str, Any] = {
        **words,
        "source_vm": moid(job.machine),
        "library": library,
        "placement": {"folder": moid(values["parent"]), "resource_pool": moid(values["resourcePool"])},
    }
    if stores := values.get("datastore"):
        store = {"datastore": moid(stores[0])}
        spec |= {"vm_home_storage": store, "disk_storage": store}
    return str(job.ask("make a template of the machine in the content library", TEMPLATES, {"spec": spec}))


def described(source: VSphere, image: Artifact, values: Mapping[str, str]) -> str:
    """Return the description of a kept item: the user's notes, with marks as lines behind them."""
    created = image.created or datetime.now(UTC)
    kept = {marks.IMAGE: image.name, marks.CREATED: created.isoformat(timespec="seconds"), **values}
    return marks.notes(source.notes, kept)


def renamed(artifact: Artifact, item: str, name: str) -> Artifact:
    """Return an artifact whose item has its final id and name."""
    settings = {**artifact.settings, "item": name}
    return replace(artifact, id=item, name=name, settings=settings, data={**artifact.data, "machine": ""})
