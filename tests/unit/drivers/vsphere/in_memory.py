"""A vCenter in memory under the real pyvmomi: no socket, but every call with the types that vSphere would take."""

# ruff: noqa: N802  methods that answer for vSphere's have its names

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim, vmodl

VIM: Any = vim
VMODL: Any = vmodl
STORAGE = VIM.vm.Summary.StorageSummary(committed=1 << 20, uncommitted=0, unshared=0, timestamp=datetime.now(UTC))
COLLECTOR: Any = VMODL.query.PropertyCollector
PLAIN = {
    "CreateContainerView",
    "DestroyView",
    "Logout",
    "HttpNfcLeaseComplete",
    "HttpNfcLeaseAbort",
    "HttpNfcLeaseProgress",
    "CancelTask",
}


class InMemory:
    """What a session's stub calls.

    `objects` are the inventory: properties by id; `faults` are raised by the next call of a method. `sent` are the
    files of an export by their names, `manifest` what is said of them, `described` how OVFs were asked for.
    """

    version = "vim.version.version11"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[Any, dict[str, Any]]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[str, Any] = {}
        self.count = 0
        self.fields: list[Any] = []
        self.denied: frozenset[str] = frozenset()
        self.warnings: list[Any] = []
        self.errors: list[Any] = []
        self.asked: list[Any] = []
        self.files: set[str] = set()
        self.sent: dict[str, bytes] = {}
        self.manifest: list[Any] = []
        self.described: list[Any] = []
        self._inventory()

    def _inventory(self) -> None:
        root = self.add(VIM.Folder, "group-d1", name="Datacenters")
        center = self.add(VIM.Datacenter, "dc-1", name="DC0", parent=root)
        machines = self.add(VIM.Folder, "group-v1", name="vm", parent=center, childEntity=[])
        self.change(center, vmFolder=machines)
        hosts = self.add(VIM.Folder, "group-h1", name="host", parent=center)
        cluster = self.add(VIM.ClusterComputeResource, "c-1", name="C0", parent=hosts)
        pool = self.add(VIM.ResourcePool, "pool-1", name="Resources", parent=cluster)
        self.change(cluster, resourcePool=pool)
        state = {"runtime.inMaintenanceMode": False, "runtime.connectionState": "connected"}
        self.add(VIM.HostSystem, "h-1", name="H0", parent=cluster, **state)
        stores = self.add(VIM.Folder, "group-s1", name="datastore", parent=center)
        summary = VIM.Datastore.Summary(
            name="DS0",
            url="",
            capacity=1 << 40,
            freeSpace=1 << 30,
            accessible=True,
            type="VMFS",
            multipleHostAccess=False,
        )
        self.add(VIM.Datastore, "ds-1", name="DS0", parent=stores, summary=summary)
        networks = self.add(VIM.Folder, "group-n1", name="network", parent=center)
        self.add(VIM.Network, "net-1", name="VM Network", parent=networks)
        session = type("Session", (), {"key": "session-1"})()
        self.objects["SessionManager"] = (VIM.SessionManager, {"currentSession": session})
        self.objects["fields"] = (VIM.CustomFieldsManager, {"field": self.fields})
        self.machine("debian", template=True)

    def add(self, kind: Any, moid: str, **values: Any) -> Any:
        """Add an object and return a reference to it."""
        self.objects[moid] = (kind, values)
        return kind(moid, self)

    def change(self, ref: Any, **values: Any) -> None:
        """Set properties of an object."""
        self.objects[ref._GetMoId()][1].update(values)

    def machine(self, name: str, parent: str = "group-v1", *, template: bool = False, **values: Any) -> Any:
        """Add a machine."""
        self.count += 1
        folder = VIM.Folder(parent, self)
        disk = VIM.vm.device.VirtualDisk(key=2000, capacityInKB=1 << 20, controllerKey=1000)
        made = self.add(
            VIM.VirtualMachine,
            f"vm-{self.count}",
            **{
                "name": name,
                "parent": folder,
                "config.template": template,
                "config.hardware": VIM.vm.VirtualHardware(numCPU=1, memoryMB=64, device=[disk]),
                "config.instanceUuid": f"uuid-{self.count}",
                "config.files": VIM.vm.FileInfo(vmPathName=f"[DS0] {name}/{name}.vmx"),
                "config.changeVersion": "1",
                "config.annotation": "",
                "config.extraConfig": [],
                "customValue": [],
                "runtime.powerState": "poweredOff",
                "runtime.connectionState": "connected",
                "guest.toolsRunningStatus": "guestToolsRunning",
                "guest.ipAddress": "192.0.2.1",
                "summary.storage.committed": 1 << 20,
                "summary.storage": STORAGE,
                **values,
            },
        )
        self._children(parent).append(made)
        return made

    def _children(self, folder: str) -> list[Any]:
        children: list[Any] = self.objects[folder][1].setdefault("childEntity", [])
        return children

    def names(self) -> set[str]:
        """The names of all machines and folders."""
        return {
            str(values.get("name"))
            for kind, values in self.objects.values()
            if kind in (VIM.VirtualMachine, VIM.Folder)
        }

    @property
    def content(self) -> Any:
        """What a session knows first."""
        return VIM.ServiceInstanceContent(
            rootFolder=VIM.Folder("group-d1", self),
            propertyCollector=COLLECTOR("collector", self),
            viewManager=VIM.view.ViewManager("views", self),
            sessionManager=VIM.SessionManager("SessionManager", self),
            authorizationManager=VIM.AuthorizationManager("rights", self),
            customFieldsManager=VIM.CustomFieldsManager("fields", self),
            ovfManager=VIM.OvfManager("ovf", self),
            fileManager=VIM.FileManager("files", self),
            customizationSpecManager=VIM.CustomizationSpecManager("specs", self),
            guestOperationsManager=VIM.vm.guest.GuestOperationsManager("guest", self),
            taskManager=VIM.TaskManager("tasks", self),
            about=VIM.AboutInfo(
                name="vc",
                fullName="a vCenter in memory",
                vendor="",
                version="7.0",
                build="1",
                osType="",
                productLineId="vpx",
                apiType="VirtualCenter",
                apiVersion="7.0",
            ),
        )

    # ---- calls --------------------------------------------------------------------------------------------------

    def InvokeMethod(self, mo: Any, info: Any, args: list[Any]) -> Any:
        """Answer one call, whose arguments pyvmomi has checked."""
        name = str(info.wsdlName)
        self.calls.append((name, mo._GetMoId()))
        if name in self.faults:
            fault = self.faults.pop(name)
            raise fault
        if name in PLAIN:
            return VIM.view.ContainerView("view", self) if name == "CreateContainerView" else None
        if name.endswith("_Task"):
            return self._task(lambda: getattr(self, f"_{name}")(mo, *args))
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            pytest.fail(f"an unforeseen call: {name}")
        return answer(mo, *args)

    def called(self, name: str) -> int:
        """How often a method was called."""
        return len([1 for method, _ in self.calls if method == name])

    def _task(self, work: Callable[[], Any]) -> Any:
        values: dict[str, Any] = {"info.state": "success"}
        try:
            values["info.result"] = work()
        except VMODL.MethodFault as fault:
            values = {"info.state": "error", "info.error": fault}
        task = f"task-{len(self.calls)}"
        self.objects[task] = (VIM.Task, {name: value for name, value in values.items() if value is not None})
        return VIM.Task(task, self)

    def _RetrievePropertiesEx(self, _: Any, wanted: list[Any], __: Any) -> Any:
        found: list[Any] = []
        for spec in wanted:
            for prop in spec.propSet:
                for ref in self._meant(spec, prop.type):
                    values = self.objects[ref._GetMoId()][1]
                    props = [SimpleNamespace(name=path, val=values[path]) for path in prop.pathSet if path in values]
                    found.append(SimpleNamespace(obj=ref, propSet=props))
        return SimpleNamespace(objects=found, token=None)

    def _meant(self, spec: Any, kind: Any) -> list[Any]:
        if isinstance(spec.objectSet[0].obj, VIM.view.ContainerView):
            return [known(moid, self) for moid, (known, _) in self.objects.items() if issubclass(known, kind)]
        refs = [one.obj for one in spec.objectSet]
        for ref in refs:
            if ref._GetMoId() not in self.objects:
                raise VMODL.fault.ManagedObjectNotFound(msg="gone", obj=ref)
        return refs

    def _Login(self, *_: Any) -> None:
        return

    def _CreateFolder(self, parent: Any, name: str) -> Any:
        self.count += 1
        made = self.add(VIM.Folder, f"group-{self.count}", name=name, parent=parent, childEntity=[])
        self._children(parent._GetMoId()).append(made)
        return made

    def _CloneVM_Task(self, _: Any, folder: Any, name: str, spec: Any) -> Any:
        if name in {self.objects[child._GetMoId()][1].get("name") for child in self._children(folder._GetMoId())}:
            raise VIM.fault.DuplicateName(msg="taken", name=name, object=folder)
        return self.machine(name, folder._GetMoId(), **{"config.annotation": spec.config.annotation})

    def _ReconfigVM_Task(self, machine: Any, spec: Any) -> None:
        values = self.objects[machine._GetMoId()][1]
        if spec.annotation is not None:
            values["config.annotation"] = spec.annotation
        values["config.extraConfig"] = [*values["config.extraConfig"], *(spec.extraConfig or ())]
        added = [change.device for change in spec.deviceChange or () if change.operation == "add"]
        if added:
            hardware = values["config.hardware"]
            devices = [*hardware.device, *added]
            values["config.hardware"] = VIM.vm.VirtualHardware(numCPU=1, memoryMB=64, device=devices)

    def _UpgradeVM_Task(self, machine: Any, version: str) -> None:
        self.change(machine, **{"config.version": version})

    def _DeleteDatastoreFile_Task(self, _: Any, path: str, datacenter: Any) -> None:
        assert isinstance(datacenter, VIM.Datacenter)
        gone = {file for file in self.files if file == path or file.startswith(f"{path}/")}
        if not gone:
            raise VIM.fault.FileNotFound(msg="no such file", file=path)
        self.files -= gone

    def _PowerOnVM_Task(self, machine: Any, _: Any) -> None:
        self.change(machine, **{"runtime.powerState": "poweredOn"})

    def _PowerOffVM_Task(self, machine: Any) -> None:
        self._ShutdownGuest(machine)

    def _ShutdownGuest(self, machine: Any) -> None:
        self.change(machine, **{"runtime.powerState": "poweredOff"})

    def _MarkAsTemplate(self, machine: Any) -> None:
        self.change(machine, **{"config.template": True})

    def _CreateSnapshot_Task(self, machine: Any, *_: Any) -> Any:
        return VIM.vm.Snapshot(f"snap-{machine._GetMoId()}", self)

    def _Rename_Task(self, thing: Any, name: str) -> None:
        self.change(thing, name=name)

    def _Destroy_Task(self, thing: Any) -> None:
        moid = thing._GetMoId()
        parent = self.objects.pop(moid)[1]["parent"]._GetMoId()
        children = [child for child in self._children(parent) if child._GetMoId() != moid]
        self.objects[parent][1]["childEntity"] = children

    def _AddCustomFieldDef(self, _: Any, name: str, *__: Any) -> Any:
        field = VIM.CustomFieldsManager.FieldDef(key=len(self.fields), name=name, type=str)
        self.fields.append(field)
        return field

    def _SetField(self, _: Any, machine: Any, key: int, value: str) -> None:
        values = self.objects[machine._GetMoId()][1]
        others = [one for one in values["customValue"] if one.key != key]
        values["customValue"] = [*others, VIM.CustomFieldsManager.StringValue(key=key, value=value)]

    def _HasPrivilegeOnEntities(self, _: Any, entities: list[Any], __: str, privileges: list[str]) -> Any:
        rights: Any = VIM.AuthorizationManager
        return [
            rights.EntityPrivilege(
                entity=entity,
                privAvailability=[
                    rights.PrivilegeAvailability(privId=one, isGranted=one not in self.denied) for one in privileges
                ],
            )
            for entity in entities
        ]

    def _CreateImportSpec(self, _: Any, __: str, ___: Any, ____: Any, wanted: Any) -> Any:
        self.asked.append(wanted)
        result: Any = VIM.OvfManager.CreateImportSpecResult
        item: Any = VIM.OvfManager.FileItem
        files = [
            item(deviceId="k", path="disk1.vmdk", cimType=17, create=False),
            item(deviceId="i", path="tools.iso", cimType=15, create=True),
        ]
        return result(
            importSpec=VIM.vm.VmImportSpec(configSpec=VIM.vm.ConfigSpec()),
            fileItem=files,
            warning=self.warnings,
            error=self.errors,
        )

    def _ExportVm(self, machine: Any) -> Any:
        lease: Any = VIM.HttpNfcLease
        urls = [
            lease.DeviceUrl(
                key=target,
                importKey="",
                url=f"https://*/nfc/2/{target}?ticket=t",
                sslThumbprint="",
                disk=target.endswith("vmdk"),
                targetId=target,
            )
            for target in self.sent
        ]
        info = lease.Info(
            lease=lease("lease-2", self), entity=machine, deviceUrl=urls, totalDiskCapacityInKB=1, leaseTimeout=300
        )
        return self.add(lease, "lease-2", state="ready", info=info)

    def _HttpNfcLeaseSetManifestChecksumType(self, *_: Any) -> None:
        """As vSphere 6.7."""

    def _HttpNfcLeaseGetManifest(self, _: Any) -> Any:
        return self.manifest

    def _CreateDescriptor(self, _: Any, __: Any, wanted: Any) -> Any:
        self.described.append(wanted)
        result: Any = VIM.OvfManager.CreateDescriptorResult
        return result(ovfDescriptor="<Envelope/>", warning=self.warnings, error=self.errors)

    def _ImportVApp(self, *_: Any) -> Any:
        machine = self.machine("imported")
        lease: Any = VIM.HttpNfcLease
        urls = [
            lease.DeviceUrl(key=key, importKey=key, url=f"https://*/nfc/1/{name}", sslThumbprint="", disk=disk)
            for key, name, disk in (("i", "tools.iso", False), ("k", "disk-0.vmdk", True))
        ]
        info = lease.Info(
            lease=lease("lease-1", self), entity=machine, deviceUrl=urls, totalDiskCapacityInKB=1, leaseTimeout=300
        )
        return self.add(lease, "lease-1", state="ready", info=info)
