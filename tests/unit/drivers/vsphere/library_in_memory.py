"""A content library in memory: items that are made, deployed, renamed and deleted through vCenter's REST API."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx

from tests.unit.drivers.vsphere.in_memory import InMemory
from tests.unit.drivers.vsphere.rest_in_memory import RestInMemory, refused

LIBRARY, ITEM = "/com/vmware/content/library", "/com/vmware/content/library/item"
LOCAL = "/com/vmware/content/local-library"
OVFS = "/com/vmware/vcenter/ovf/library-item"
TEMPLATES = "/vcenter/vm-template/library-items"


class LibraryInMemory(RestInMemory):
    """The library `images`, whose id is `l-1`.

    Args:
        api: the vCenter's other half.
    """

    def __init__(self, api: InMemory) -> None:
        super().__init__()
        self.api = api
        self.items: dict[str, dict[str, Any]] = {}
        self.templates: dict[str, Any] = {}
        self.kind = "LOCAL"
        self.count = 0

    def names(self) -> set[str]:
        """The names of all items."""
        return {str(item["name"]) for item in self.items.values()}

    def add(self, name: str, kind: str = "ovf", description: str = "") -> str:
        """Add an item, and return its id."""
        self.count += 1
        item = f"i-{self.count}"
        self.items[item] = {"name": name, "type": kind, "description": description, "content_version": "1", "size": 7}
        return item

    def _answer(self, request: httpx.Request) -> httpx.Response:
        query = request.url.query.decode()
        name = f"{request.method} {request.url.path.removeprefix('/rest')}" + (f"?{query}" if query else "")
        if name not in self.answers and (found := self._route(name)) is not None:
            self.answers[name] = found
        return super()._answer(request)

    def _route(self, name: str) -> Callable[[Any], Any] | None:
        fixed: dict[str, Callable[[Any], Any]] = {
            f"GET {LIBRARY}": lambda _: ["l-1"],
            f"GET {LOCAL}": lambda _: ["l-1"],
            f"GET {LIBRARY}/id:l-1": lambda _: {"name": "images", "type": self.kind},
            f"POST {LIBRARY}?~action=find": lambda body: ["l-1"] if body["spec"]["name"] == "images" else [],
            f"GET {ITEM}?library_id=l-1": lambda _: list(self.items),
            f"POST {ITEM}?~action=find": self._found,
            f"POST {OVFS}": self._written,
            f"POST {TEMPLATES}": self._templated,
        }
        if name in fixed:
            return fixed[name]
        if found := re.fullmatch(rf"(GET|PATCH|DELETE) {ITEM}/id:(.+)", name):
            return partial(self._item, found[1], found[2])
        if found := re.fullmatch(rf"POST {OVFS}/id:(.+)\?~action=(filter|deploy)", name):
            return self._deployed if found[2] == "deploy" else lambda _: {"networks": []}
        if re.fullmatch(rf"POST {TEMPLATES}/(.+)\?action=deploy", name):
            return lambda body: self.api.machine(body["spec"]["name"])._GetMoId()
        return None

    def _found(self, body: Any) -> list[str]:
        """Find by a name; vCenter does not tell upper from lower case."""
        wanted = body["spec"]["name"].lower()
        return [own for own, item in self.items.items() if item["name"].lower() == wanted]

    def _item(self, method: str, own: str, body: Any) -> Any:
        if own not in self.items:
            return refused("not_found", "no such item", status=404)
        match method:
            case "PATCH":
                self.items[own] |= body["update_spec"]
            case "DELETE":
                self.items.pop(own)
                if (machine := self.templates.pop(own, None)) is not None:
                    self.api._Destroy_Task(machine)
            case _:
                return {"id": own, **self.items[own]}
        return None

    def _written(self, body: Any) -> Any:
        spec, target = body["create_spec"], body["target"]
        if own := target.get("library_item_id"):
            self.items[own]["content_version"] = str(int(self.items[own]["content_version"]) + 1)
        else:
            own = self.add(spec["name"], "ovf", spec["description"])
        return {"succeeded": True, "ovf_library_item_id": own}

    def _templated(self, body: Any) -> str:
        spec = body["spec"]
        own = self.add(spec["name"], "vm-template", spec["description"])
        self.templates[own] = self.api.machine(spec["name"], template=True)
        return own

    def _deployed(self, body: Any) -> Any:
        made = self.api.machine(body["deployment_spec"]["name"])
        return {"succeeded": True, "resource_id": {"type": "VirtualMachine", "id": made._GetMoId()}}
