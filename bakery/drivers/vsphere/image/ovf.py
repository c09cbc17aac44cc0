"""The OVF of a local image: its hardware in the words of DMTF's DSP0243, with VMware's own where those lack some."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
VMW = "http://www.vmware.com/schema/ovf"
CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
RASD, VSSD = f"{CIM}/CIM_ResourceAllocationSettingData", f"{CIM}/CIM_VirtualSystemSettingData"
STREAM_OPTIMIZED = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
CPU, MEMORY, SCSI, CARD, DISK = "3", "4", "6", "10", "17"
"""CIM's numbers of kinds of hardware (DSP1043)."""
VERSION = "vmx-13"
"""Virtual hardware of vSphere 6.5, which every version since can run."""
SUBTYPES = {"vmxnet3": "VmxNet3", "e1000e": "E1000e", "e1000": "E1000"}


@dataclass(frozen=True, kw_only=True)
class OvfMachine:
    """What an OVF says of a machine.

    Args:
        name: the machine's.
        disk: the disk's file, beside the OVF.
        size: of that file, in bytes.
        capacity: of the disk, in bytes.
        cpus: processors.
        memory: MiB.
        networks: names of networks, one for each card.
        nic: the cards' kind.
        firmware: `bios` or `efi`.
        secure_boot: with EFI.
        guest_id: vSphere's word for the guest's system.
    """

    name: str
    disk: str
    size: int
    capacity: int
    cpus: int
    memory: int
    networks: tuple[str, ...]
    nic: str
    firmware: str
    secure_boot: bool
    guest_id: str


def descriptor(machine: OvfMachine) -> str:
    """Return the OVF."""
    for prefix, space in (("ovf", OVF), ("vmw", VMW), ("rasd", RASD), ("vssd", VSSD)):
        ET.register_namespace(prefix, space)
    root = ET.Element(f"{{{OVF}}}Envelope")
    files = ET.SubElement(root, f"{{{OVF}}}References")
    file = {_ovf("href"): machine.disk, _ovf("id"): "file1", _ovf("size"): str(machine.size)}
    ET.SubElement(files, _ovf("File"), file)
    _disk_section(root, machine)
    networks = _section(root, "NetworkSection", "The networks of the cards")
    for name in machine.networks:
        network = ET.SubElement(networks, _ovf("Network"), {_ovf("name"): name})
        ET.SubElement(network, _ovf("Description")).text = name
    system = ET.SubElement(root, _ovf("VirtualSystem"), {_ovf("id"): machine.name})
    ET.SubElement(system, _ovf("Info")).text = "A virtual machine"
    ET.SubElement(system, _ovf("Name")).text = machine.name
    guest = _section(system, "OperatingSystemSection", "The guest's system")
    guest.set(_ovf("id"), "1")
    guest.set(f"{{{VMW}}}osType", machine.guest_id)
    _hardware(system, machine)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _ovf(name: str) -> str:
    return f"{{{OVF}}}{name}"


def _section(parent: ET.Element, name: str, info: str) -> ET.Element:
    section = ET.SubElement(parent, _ovf(name))
    ET.SubElement(section, _ovf("Info")).text = info
    return section


def _disk_section(root: ET.Element, machine: OvfMachine) -> None:
    disks = _section(root, "DiskSection", "The disk")
    facts = {
        "capacity": str(machine.capacity),
        "capacityAllocationUnits": "byte",
        "diskId": "disk1",
        "fileRef": "file1",
        "format": STREAM_OPTIMIZED,
    }
    ET.SubElement(disks, _ovf("Disk"), {_ovf(name): value for name, value in facts.items()})


def _hardware(system: ET.Element, machine: OvfMachine) -> None:
    hardware = _section(system, "VirtualHardwareSection", "Virtual hardware")
    settings = ET.SubElement(hardware, _ovf("System"))
    for name, text in (
        ("ElementName", "Virtual Hardware Family"),
        ("InstanceID", "0"),
        ("VirtualSystemIdentifier", machine.name),
        ("VirtualSystemType", VERSION),
    ):
        ET.SubElement(settings, f"{{{VSSD}}}{name}").text = text
    for item in _items(machine):
        element = ET.SubElement(hardware, _ovf("Item"))
        for name in sorted(item):  # the schema wants them in the order of their names
            ET.SubElement(element, f"{{{RASD}}}{name}").text = item[name]
    for key, value in _config(machine):
        words = {_ovf("required"): "false", f"{{{VMW}}}key": key, f"{{{VMW}}}value": value}
        ET.SubElement(hardware, f"{{{VMW}}}Config", words)


def _items(machine: OvfMachine) -> Iterator[dict[str, str]]:
    yield _item("1", "processors", CPU, AllocationUnits="hertz * 10^6", VirtualQuantity=str(machine.cpus))
    yield _item("2", "memory", MEMORY, AllocationUnits="byte * 2^20", VirtualQuantity=str(machine.memory))
    yield _item("3", "SCSI controller", SCSI, Address="0", ResourceSubType="VirtualSCSI")
    yield _item("4", "disk", DISK, AddressOnParent="0", HostResource="ovf:/disk/disk1", Parent="3")
    for number, name in enumerate(machine.networks):
        yield _item(
            str(5 + number),
            f"network card {number + 1}",
            CARD,
            AddressOnParent=str(7 + number),
            AutomaticAllocation="true",
            Connection=name,
            ResourceSubType=SUBTYPES[machine.nic],
        )


def _item(number: str, name: str, kind: str, **more: str) -> dict[str, str]:
    return {"InstanceID": number, "ElementName": name, "ResourceType": kind, **more}


def _config(machine: OvfMachine) -> Iterator[tuple[str, str]]:
    yield "firmware", machine.firmware
    if machine.secure_boot:
        yield "bootOptions.efiSecureBootEnabled", "true"
