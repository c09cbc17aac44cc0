"""A stand-in for what vcsim 0.24 has nothing of: `ExportVm` with its lease, and `OvfManager.CreateDescriptor`.

Answers are pyvmomi's own types, written by its own serializer, so that a name or a type that vSphere does not know is
an error here too. It is as vSphere 6.5, which is what vcsim says that it is: digests are SHA-1. The disk that is served
is the machine's own: of a guest, what it wrote.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakery.drivers.vsphere.image import ovf

if TYPE_CHECKING:
    from tests.contract.vcsim import SoapRequest, VCenterStandIn

PREFIX = "export-"
SIZE = 4 << 20
"""Bytes of the disk of a machine without a guest."""


@dataclass
class ExportLease:
    """One lease.

    Args:
        machine: pyvmomi's reference to what is exported.
        disk: the file that is served.
        percents: what its holder said of its progress.
        state: as vSphere has it.
    """

    machine: Any
    disk: Path
    percents: list[int] = field(default_factory=list[int])
    state: str = "ready"


@dataclass
class ExportStandIn:
    """All leases of a stand-in.

    Args:
        front: which has the machines.
        damage: changes the disk after its digest was taken.
        breaks: how many downloads end in the middle.
        silent: its manifest has no entries.
        more: further files of the machine, by their `targetId`.
    """

    front: VCenterStandIn
    leases: dict[str, ExportLease] = field(default_factory=dict[str, ExportLease])
    damage: bool = False
    breaks: int = 0
    silent: bool = False
    more: dict[str, bytes] = field(default_factory=dict[str, bytes])
    downloads: list[str] = field(default_factory=list[str])

    def forget(self) -> None:
        """Be as at the beginning."""
        self.leases.clear()
        self.downloads.clear()
        self.damage = self.silent = False
        self.breaks, self.more = 0, {}

    # ---- calls --------------------------------------------------------------------------------------------------

    def answer(self, call: SoapRequest) -> Any:
        """Return what a call gets, as pyvmomi has it; None where it is none of ours; raises a fault of pyvmomi's."""
        if call.method == "ExportVm":
            return self._begin(call)
        if call.method == "CreateDescriptor":
            return self._describe(call)
        if call.method == "RetrievePropertiesEx" and f">{PREFIX}" in call.body:
            return self._properties(call)
        lease = self.leases.get(call.moid)
        return None if lease is None else self._of_lease(call, lease)

    def _begin(self, call: SoapRequest) -> Any:
        from pyVmomi import vim

        make: Any = vim
        machine = make.VirtualMachine(call.moid, self.front.center.session.stub)
        values = self.front.center.properties(machine, "runtime.powerState") or {}
        if str(values.get("runtime.powerState")) != "poweredOff":
            raise make.fault.InvalidPowerState(
                msg="the machine is on", requestedState="poweredOff", existingState="poweredOn"
            )
        key = f"{PREFIX}{len(self.leases) + 1}"
        self.leases[key] = ExportLease(machine, self._disk(call.moid, key))
        return make.HttpNfcLease(key, self.front.center.session.stub)

    def _of_lease(self, call: SoapRequest, lease: ExportLease) -> Any:
        match call.method:
            case "HttpNfcLeaseProgress":
                lease.percents.append(int(call.value("percent")))
            case "HttpNfcLeaseGetManifest":
                return self._manifest(lease)
            case "HttpNfcLeaseComplete" | "HttpNfcLeaseAbort":
                lease.state = "done" if call.method.endswith("Complete") else "aborted"
            case _:
                return None
        return ()

    def _properties(self, call: SoapRequest) -> Any:
        from pyVmomi import vim, vmodl

        collector: Any = vmodl.query.PropertyCollector
        key = call.body.partition(f">{PREFIX}")[2].partition("<")[0]
        lease = self.leases[f"{PREFIX}{key}"]
        state: Any = vim.HttpNfcLease.State
        values = {"state": state.ready, "info": self._info(f"{PREFIX}{key}", lease)}
        props: Any = vmodl.DynamicProperty
        found = collector.ObjectContent(
            obj=self._reference(f"{PREFIX}{key}"), propSet=[props(name=name, val=val) for name, val in values.items()]
        )
        return collector.RetrieveResult(objects=[found])

    def _reference(self, key: str) -> Any:
        from pyVmomi import vim

        lease: Any = vim.HttpNfcLease
        return lease(key, self.front.center.session.stub)

    def _info(self, key: str, lease: ExportLease) -> Any:
        from pyVmomi import vim

        kind: Any = vim.HttpNfcLease
        urls = [
            kind.DeviceUrl(
                key=self._key(lease, target),
                importKey="",
                url=f"https://*/nfc/{key}/{target}",
                sslThumbprint="",
                disk=target.endswith(".vmdk"),
                targetId=target,
                fileSize=len(content),
            )
            for target, content in self._files(lease).items()
        ]
        return kind.Info(
            lease=self._reference(key),
            entity=lease.machine,
            deviceUrl=urls,
            totalDiskCapacityInKB=SIZE >> 10,
            leaseTimeout=300,
        )

    def _key(self, lease: ExportLease, target: str) -> str:
        return f"/{lease.machine._GetMoId()}/{target}"

    def _files(self, lease: ExportLease) -> dict[str, bytes]:
        return {"disk-0.vmdk": lease.disk.read_bytes(), **self.more}

    def _manifest(self, lease: ExportLease) -> Any:
        from pyVmomi import vim

        entry: Any = vim.HttpNfcLease.ManifestEntry
        entries = [] if self.silent else list(self._files(lease).items())
        return [
            entry(
                key=self._key(lease, target),
                sha1=hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                size=len(content),
                disk=target.endswith(".vmdk"),
                capacity=_capacity(lease.disk) if target.endswith(".vmdk") else None,
                populatedSize=len(content) if target.endswith(".vmdk") else None,
            )
            for target, content in entries
        ]

    # ---- files --------------------------------------------------------------------------------------------------

    def _disk(self, moid: str, key: str) -> Path:
        """Write a machine's disk as it is now in the format that leases carry."""
        guest, to = self.front.rig / f"{moid}.qcow2", self.front.folder / f"{key}.vmdk"
        source = guest if guest.exists() else self._blank(key)
        words = ["qemu-img", "convert", "-U", "-O", "vmdk", "-o", "subformat=streamOptimized", str(source), str(to)]
        subprocess.run(words, check=True)
        return to

    def _blank(self, key: str) -> Path:
        path = self.front.folder / f"{key}.raw"
        path.write_bytes(b"written by nobody" * 1000)
        with path.open("r+b") as file:
            file.truncate(SIZE)
        return path

    def download(self, path: str) -> tuple[bytes, int] | None:
        """Return a file of a lease, and how many bytes of it are sent; None where the path is none of a lease."""
        _, _, key, target = (*path.split("/"), "", "", "", "")[:4]
        lease = self.leases.get(key)
        if lease is None or lease.state != "ready":
            return None
        self.downloads.append(target)
        content = self._files(lease)[target]
        if self.damage:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.breaks:
            self.breaks -= 1
            return content, len(content) // 2
        return content, len(content)

    # ---- the descriptor -----------------------------------------------------------------------------------------

    def _describe(self, call: SoapRequest) -> Any:
        """Describe a machine from its settings; vSphere's own descriptors say more."""
        from pyVmomi import vim

        make: Any = vim
        text = machine_ovf(
            self.front,
            call.value("obj"),
            name=call.value("name"),
            disk=call.value("path"),
            size=int(call.value("size")),
            capacity=int(call.value("capacity")),
        )
        return make.OvfManager.CreateDescriptorResult(ovfDescriptor=text)


def machine_ovf(front: VCenterStandIn, moid: str, *, name: str, disk: str, size: int, capacity: int) -> str:
    """Return the OVF of a machine, as our own code writes it."""
    config = (front.center.properties(front.center.machine(moid), "config") or {})["config"]
    return ovf.descriptor(
        ovf.OvfMachine(
            name=name,
            disk=disk,
            size=size,
            capacity=capacity,
            cpus=config.hardware.numCPU,
            memory=config.hardware.memoryMB,
            networks=("VM Network",),
            nic="vmxnet3",
            firmware=str(config.firmware or "bios"),
            secure_boot=False,
            guest_id=str(config.guestId),
        )
    )


def _capacity(disk: Path) -> int:
    words = ["qemu-img", "info", "--output=json", str(disk)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return int(json.loads(text)["virtual-size"])
