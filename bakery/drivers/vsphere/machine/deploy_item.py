"""A machine of a content library's item: an OVF or a machine's template, deployed by vCenter from its own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakery.drivers.vsphere.api import libraries, marks
from bakery.drivers.vsphere.api.center import VCenter, moid
from bakery.drivers.vsphere.api.errors import VSphereError
from bakery.drivers.vsphere.api.libraries import LibraryEntry
from bakery.drivers.vsphere.api.rest import identified, messages
from bakery.drivers.vsphere.machine.import_base import Goal, OvfQuestions, check_answers, mapped
from bakery.drivers.vsphere.machine.machines import MACHINE
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import PreflightError
from bakery.model import Resource
from bakery.state.claim import Claim
from bakery.util.waiting import interruptible

OVFS = "/com/vmware/vcenter/ovf/library-item"
TEMPLATES = "/vcenter/vm-template/library-items"
PROPERTIES, DEPLOYMENT = "property_params", "deployment_option_params"


def find(center: VCenter, source: VSphere) -> LibraryEntry:
    """Return the item that a source names as its base.

    Raises:
        PreflightError: it is not there, or no machine can be made of it.
    """
    entry = libraries.find_item(center, source.base.library, source.base.item)
    if entry.kind not in {libraries.OVF, libraries.TEMPLATE}:
        raise PreflightError(
            f"the item {entry.name} of the content library {source.base.library} is no machine",
            why=f"it is of the type {entry.kind}; an OVF or a template is one",
        )
    return entry


def request(center: VCenter, source: VSphere, entry: LibraryEntry, goal: Goal) -> dict[str, Any]:
    """Return what is asked of vCenter for a machine that is off; makes nothing.

    Args:
        center: where.
        source: with the user's answers to what an OVF asks.
        entry: the item.
        goal: where to, and as what.

    Raises:
        PreflightError: what the OVF asks is not answered.
    """
    return _template(source, goal) if entry.kind == libraries.TEMPLATE else _ovf(center, source, entry, goal)


def _template(source: VSphere, goal: Goal) -> dict[str, Any]:
    del source  # a template asks nothing
    where = goal.where
    place = {"resource_pool": moid(where.pool)}
    if goal.folder is not None:
        place["folder"] = moid(goal.folder)
    if where.host is not None:
        place["host"] = where.host.moid
    spec: dict[str, Any] = {"name": goal.name, "placement": place, "powered_on": False}
    if where.datastore is not None:
        store = {"datastore": where.datastore.moid}
        spec |= {"vm_home_storage": store, "disk_storage": store}
    return {"spec": spec}


def _ovf(center: VCenter, source: VSphere, entry: LibraryEntry, goal: Goal) -> dict[str, Any]:
    where = goal.where
    target = {"resource_pool_id": moid(where.pool)}
    if goal.folder is not None:
        target["folder_id"] = moid(goal.folder)
    if where.host is not None:
        target["host_id"] = where.host.moid
    asked = _questions(center, entry, target)
    check_answers(source.ovf, asked, entry.name)
    names = tuple(source.ovf.networks) if asked.networks is None else asked.networks
    networks = mapped(source, names, goal.known, where)
    spec: dict[str, Any] = {
        "name": goal.name,
        "accept_all_EULA": source.ovf.accept_eulas,
        "network_mappings": [{"key": name, "value": entity.moid} for name, entity in networks],
        "storage_provisioning": source.ovf.provisioning,
        "additional_parameters": _parameters(source),
    }
    if where.datastore is not None:
        spec["default_datastore_id"] = where.datastore.moid
    return {"target": target, "deployment_spec": spec}


def _parameters(source: VSphere) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if source.ovf.properties:
        values = [{"id": key, "value": value} for key, value in source.ovf.properties.items()]
        parameters.append({**_class(PROPERTIES, "PropertyParams"), "properties": values})
    if source.ovf.deployment:
        parameters.append({**_class(DEPLOYMENT, "DeploymentOptionParams"), "selected_key": source.ovf.deployment})
    return parameters


def _class(name: str, kind: str) -> dict[str, str]:
    return {"@class": f"com.vmware.vcenter.ovf.{name}", "type": kind}


def _questions(center: VCenter, entry: LibraryEntry, target: Mapping[str, str]) -> OvfQuestions:
    """Let vCenter say what the OVF asks; which properties it has is left to it, as it names them in its own way."""
    answer = center.rest(
        f"read the OVF of {entry.name}",
        "POST",
        identified(OVFS, entry.id),
        {"target": {name: value for name, value in target.items() if name != "host_id"}},
        params={"~action": "filter"},
    )
    said = {str(name).lower(): value for name, value in (answer or {}).items()}
    options = [one for one in said.get("additional_params") or () if one.get("type") == "DeploymentOptionParams"]
    keys = tuple(str(one["key"]) for each in options for one in each.get("deployment_options") or ())
    return OvfQuestions(
        networks=tuple(str(name) for name in said["networks"]) if "networks" in said else None,
        properties=None,
        deployments=keys if options else None,
        licences=bool(said.get("eulas")),
    )


def deploy_item(center: VCenter, source: VSphere, goal: Goal, claim: Claim) -> tuple[Any, Resource]:
    """Deploy the item that a source names as a machine that is off, under the claim's name; written down first.

    vCenter answers when the machine is whole. Whoever does not hear that answer cannot know whether it is, so it is
    asked once.

    Args:
        center: where.
        source: with a `LibraryItem` as its base.
        goal: where to.
        claim: the right to make the machine.

    Raises:
        PreflightError: the item is not there, or asks what is not answered: nothing was made.
        VSphereError: refused.
    """
    entry = find(center, source)
    body = request(center, source, entry, goal)
    if entry.kind == libraries.TEMPLATE:
        path, params = f"{TEMPLATES}/{entry.id}", {"action": "deploy"}
    else:
        path, params = identified(OVFS, entry.id), {"~action": "deploy"}
        body["deployment_spec"]["annotation"] = marks.notes("", marks.temporary(claim, claim.name))
    intent = claim.intend(MACHINE, claim.name, item=entry.id, **center.record)
    what = f"deploy {entry.name}"
    claim.waiting(f"vSphere is to {what}")
    answer = interruptible(
        lambda: center.rest(what, "POST", path, body, params=params, timeout=source.launch_timeout, repeat=False),
        claim.cancel,
        discard=lambda _: None,  # it is found by its name, and destroyed
    )
    own = answer if isinstance(answer, str) else _deployed(what, answer)
    return center.machine(own), intent.made(own)


def _deployed(what: str, answer: Any) -> str:
    """Return the machine's id of a deployment that succeeded.

    Raises:
        VSphereError: it did not.
    """
    if answer.get("succeeded") and answer.get("resource_id"):
        return str(answer["resource_id"]["id"])
    said = "; ".join(messages(answer.get("error"))) or "no explanation"
    raise VSphereError(f"vSphere did not {what}", why=said)
