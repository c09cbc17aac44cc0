"""A stand-in for what vcsim 0.24 does not do of content libraries: write a machine into one.

vcsim makes an item without files of a machine, and nothing at all of a new version. Here the machine's OVF is pushed
into the item by an update session, which is vcsim's own, and the disk of a machine that is a guest is kept beside it:
what is deployed from the item boots from that.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from tests.contract.vcsim_export import machine_ovf

if TYPE_CHECKING:
    from tests.contract.vcsim import SoapRequest, VCenterStandIn

OVFS = "/com/vmware/vcenter/ovf/library-item"
TEMPLATES = "/vcenter/vm-template/library-items"
LIBRARIES, ITEMS = "/com/vmware/content/library", "/com/vmware/content/library/item"
UPDATE, FILE = "/com/vmware/content/library/item/update-session", "/com/vmware/content/library/item/updatesession/file"
SESSION = "/com/vmware/cis/session"
HEADER = "vmware-api-session-id"


@dataclass
class LibraryStandIn:
    """All that was written into libraries.

    Args:
        front: which has the machines.
        templates: machines that belong to items, by the items' ids.
        versions: how often an item was written.
    """

    front: VCenterStandIn
    templates: dict[str, str] = field(default_factory=dict[str, str])
    versions: dict[str, int] = field(default_factory=dict[str, int])
    session: str = ""

    def before(self, call: SoapRequest) -> Any:
        """Return the value that a request gets; None where vcsim answers itself."""
        if call.method != f"POST {OVFS}":
            return None
        asked = json.loads(call.body)
        if item := asked["target"].get("library_item_id"):
            self._write(item, asked["source"]["id"])
            return {"succeeded": True, "ovf_library_item_id": item}
        return None

    def after(self, call: SoapRequest, answer: bytes) -> None:
        """Do what vcsim leaves out of a request that it answered."""
        verb, _, path = call.method.partition(" ")
        if verb == "DELETE" and path.startswith(f"{ITEMS}/id:"):
            self.disk(path.rpartition("id:")[2]).unlink(missing_ok=True)
        if verb != "POST":
            return
        value: Any = json.loads(answer).get("value") if answer.strip() else None
        if path == OVFS and value:
            self._write(value["ovf_library_item_id"], json.loads(call.body)["source"]["id"])
        elif path == TEMPLATES:
            spec = json.loads(call.body)["spec"]
            template = self.front.machine(spec["name"])
            self.templates[value] = template._GetMoId()
            template.MarkAsVirtualMachine(self.front.pool)  # vcsim changes no template
            self.front.inherit(self.front.center.machine(spec["source_vm"]), template)
            template.MarkAsTemplate()
            self.versions[value] = 1
            words = {"description": spec.get("description", "")}  # which vcsim leaves out
            self._asked("PATCH", f"{ITEMS}/id:{value}", {"update_spec": words})
        elif path.endswith("action=deploy"):
            self._deployed(path.removesuffix("?~action=deploy").removesuffix("?action=deploy"), value)

    def _write(self, item: str, machine: str) -> None:
        """Push a machine's OVF into an item, and keep its disk."""
        text = machine_ovf(self.front, machine, name="web", disk="disk-0.vmdk", size=1, capacity=1 << 20)
        session = self._asked("POST", UPDATE, {"create_spec": {"library_item_id": item}})
        wanted = {"file_spec": {"name": "web.ovf", "source_type": "PUSH", "size": len(text)}}
        added = self._asked("POST", f"{FILE}/id:{session}?~action=add", wanted)
        path = urlsplit(added["upload_endpoint"]["uri"]).path
        httpx.put(
            f"http://{self.front.backend}{path}", content=text.encode(), headers={HEADER: session}
        ).raise_for_status()
        self._asked("POST", f"{UPDATE}/id:{session}?~action=complete", {})
        self.versions[item] = self.versions.get(item, 0) + 1
        guest = self.front.rig / f"{machine}.qcow2"
        if guest.exists():
            words = ["qemu-img", "convert", "-U", "-O", "qcow2", str(guest), str(self.disk(item))]
            subprocess.run(words, check=True)

    def disk(self, item: str) -> Path:
        """The disk that a machine of an item starts from."""
        return self.front.rig / f"item-{item}.qcow2"

    def listed(self) -> set[str]:
        """All items, with the names of their libraries."""
        found: set[str] = set()
        if not self.front.center.is_vcenter:
            return found
        for own in self._asked("GET", LIBRARIES) or ():
            library = self._asked("GET", f"{LIBRARIES}/id:{own}")["name"]
            for item in self._asked("GET", f"{ITEMS}?library_id={own}") or ():
                found.add(f"item {self.item(item)['name']} of {library} {item}")
        return found

    def item(self, item: str) -> dict[str, Any]:
        """What the server says of an item."""
        return dict(self._asked("GET", f"{ITEMS}/id:{item}"))

    def delete(self, item: str) -> None:
        """Delete an item, past the front."""
        self._asked("DELETE", f"{ITEMS}/id:{item}")
        self.disk(item).unlink(missing_ok=True)

    def _deployed(self, path: str, value: Any) -> None:
        """Give what was deployed a guest of its own, or the settings of the item's template."""
        item = path.rpartition("id:")[2] if "id:" in path else path.rpartition("/")[2]
        own = value if isinstance(value, str) else ((value or {}).get("resource_id") or {}).get("id")
        if not own:
            return
        machine = self.front.center.machine(own)
        if item in self.templates:
            self.front.inherit(self.front.center.machine(self.templates[item]), machine)
        elif self.disk(item).exists():
            self.front.give_guest(machine, str(self.disk(item)))

    def _asked(self, method: str, path: str, body: Any = None) -> Any:
        if not self.session:
            login = httpx.post(f"http://{self.front.backend}/rest{SESSION}", auth=self.front.login)
            self.session = str(login.raise_for_status().json()["value"])
        headers = {HEADER: self.session}
        answer = httpx.request(method, f"http://{self.front.backend}/rest{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer.json().get("value") if answer.content.strip() else None
