"""OVAs and OVFs as other people's programs write them, for tests of what reads them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENVELOPE = """\
<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References><File ovf:href="{disk}" ovf:id="file1" ovf:size="{size}"{file}/></References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="disk1" ovf:fileRef="file1"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection><Info>Networks</Info>{networks}</NetworkSection>
  {deployments}
  <VirtualSystem ovf:id="web">
    <Info>A machine</Info>
    <OperatingSystemSection ovf:id="96" vmw:osType="debian10_64Guest"><Info>Linux</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
      <Item><rasd:ElementName>cpu</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:ElementName>memory</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
      <Item><rasd:Address>0</rasd:Address><rasd:ElementName>scsi</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      {cards}{items}
    </VirtualHardwareSection>
    {sections}
  </VirtualSystem>
</Envelope>
"""
CARD = """\
<Item><rasd:AddressOnParent>{place}</rasd:AddressOnParent><rasd:Connection>{name}</rasd:Connection>
        <rasd:ElementName>card</rasd:ElementName><rasd:InstanceID>{place}</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>"""
ODD = """\
<Item><rasd:ElementName>tape</rasd:ElementName><rasd:InstanceID>99</rasd:InstanceID>
        <rasd:ResourceType>{kind}</rasd:ResourceType></Item>"""
"""Hardware that no hypervisor has."""
PRODUCT = """\
<ProductSection ovf:class="web" ovf:instance="1"><Info>Product</Info>
      <Property ovf:key="role" ovf:type="string" ovf:userConfigurable="true"/>
      <Property ovf:key="build" ovf:type="string" ovf:value="7"/></ProductSection>"""
LICENCE = "<EulaSection><Info>Licence</Info><License>Do as you like.</License></EulaSection>"
DEPLOYMENTS = """\
<DeploymentOptionSection><Info>Sizes</Info><Configuration ovf:id="small" ovf:default="true"><Label>S</Label>
    <Description>S</Description></Configuration><Configuration ovf:id="large"><Label>L</Label>
    <Description>L</Description></Configuration></DeploymentOptionSection>"""


def descriptor(
    size: int,
    *,
    disk: str = "disk1.vmdk",
    capacity: int = 8 << 20,
    networks: tuple[str, ...] = ("nat",),
    sections: str = "",
    items: str = "",
    deployments: str = "",
    file: str = "",
) -> str:
    """Return an OVF of one machine with one disk, and a card for each network.

    Args:
        size: bytes of the disk's file.
        disk: its name.
        capacity: of the disk, in bytes.
        networks: their names.
        sections, items, deployments, file: more XML: of the machine, of its hardware, above it, in the file's element.
    """
    return ENVELOPE.format(
        disk=disk,
        size=size,
        capacity=capacity,
        networks="".join(
            f'<Network ovf:name="{name}"><Description>{name}</Description></Network>' for name in networks
        ),
        cards="".join(CARD.format(place=7 + number, name=name) for number, name in enumerate(networks)),
        sections=sections,
        items=items,
        deployments=deployments,
        file=file,
    )


def manifest(files: Mapping[str, bytes], algorithm: str = "sha256") -> str:
    """Return the manifest of files."""
    lines = (f"{algorithm.upper()}({name})= {hashlib.new(algorithm, data).hexdigest()}" for name, data in files.items())
    return "\n".join(lines) + "\n"


def write_ovf(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write a package as files of a folder; returns the OVF."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / next(name for name in files if name.endswith(".ovf"))


def write_ova(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a package as an OVA, in this order."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def package(disk: bytes = b"a disk", *, algorithm: str = "sha256", **changes: Any) -> dict[str, bytes]:
    """Return the files of a whole package: the OVF first, then its manifest, then the disk."""
    ovf = descriptor(len(disk), **changes).encode()
    files = {"web.ovf": ovf, "disk1.vmdk": disk}
    return {"web.ovf": ovf, "web.mf": manifest(files, algorithm).encode(), "disk1.vmdk": disk}
