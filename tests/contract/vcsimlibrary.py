"""Content libraries of vcsim, filled as a user would fill them: through vCenter's REST API."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from bakery.drivers.vsphere.api import inventory
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import moid
from bakery.drivers.vsphere.api.libraries import ITEM
from bakery.drivers.vsphere.api.rest import RestSession, identified
from bakery.redaction.secret import Secret
from tests.contract.vcsim import PASSWORD, USER, VCenterStandIn

LOCAL = "/com/vmware/content/local-library"
UPDATE, FILE = "/com/vmware/content/library/item/update-session", "/com/vmware/content/library/item/updatesession/file"
TEMPLATES = "/vcenter/vm-template/library-items"


class LibraryHand:
    """A user's hand in one library.

    Args:
        front: the stand-in.
        name: the library's.
    """

    def __init__(self, front: VCenterStandIn, name: str) -> None:
        self._front = front
        account = VSphereAccount(server=front.server, username=USER, ca=front.ca)
        self._rest = RestSession(account, Secret(PASSWORD, "pw"))
        self._known = inventory.read(front.center)
        store = self._known.find("datastore", "LocalDS_0").moid
        spec = {"name": name, "type": "LOCAL", "storage_backings": [{"datastore_id": store, "type": "DATASTORE"}]}
        self.id = str(self._rest.call("make a library", "POST", LOCAL, {"create_spec": spec}))

    def ovf(self, name: str, files: dict[str, bytes]) -> str:
        """Add an OVF, and return the item's id."""
        spec = {"name": name, "type": "ovf", "library_id": self.id}
        item = str(self._rest.call("make an item", "POST", ITEM, {"create_spec": spec}))
        session = str(self._rest.call("begin", "POST", UPDATE, {"create_spec": {"library_item_id": item}}))
        for file, data in files.items():
            wanted = {"file_spec": {"name": file, "source_type": "PUSH", "size": len(data)}}
            added = self._rest.call("add", "POST", identified(FILE, session), wanted, params={"~action": "add"})
            path = urlsplit(added["upload_endpoint"]["uri"]).path
            headers = {"vmware-api-session-id": session}
            httpx.put(f"http://{self._front.backend}{path}", content=data, headers=headers).raise_for_status()
        self._rest.call("end", "POST", identified(UPDATE, session), params={"~action": "complete"})
        return item

    def template(self, name: str, machine: str) -> str:
        """Add a template made of a machine, and return the item's id."""
        cluster = self._known.find("cluster", "DC0_C0")
        pool = (self._front.center.properties(cluster.ref, "resourcePool") or {})["resourcePool"]
        place = {"resource_pool": moid(pool), "folder": self._known.find("folder", "/DC0/vm").moid}
        spec = {"name": name, "library": self.id, "source_vm": moid(self._front.machine(machine)), "placement": place}
        return str(self._rest.call("make a template", "POST", TEMPLATES, {"spec": spec}))
