"""What an imagefile builds on: sources, bases, and what describes a look-up. Each is imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bakery.util.lazy import lazy_names

if TYPE_CHECKING:
    from bakery.disk.bases.cloud_image import CloudImage
    from bakery.disk.bases.debian import Debian
    from bakery.disk.bases.named_images import (
        Alma,
        Alpine,
        CentOSStream,
        DebianCloud,
        Fedora,
        OpenSuse,
        Rocky,
        Ubuntu,
    )
    from bakery.disk.partitions import Disk, Partition, Volume
    from bakery.drivers.ec2.options import Newest, Parameter
    from bakery.drivers.ec2.source import Ec2
    from bakery.drivers.local import Local
    from bakery.drivers.nspawn.source import Nspawn
    from bakery.drivers.openstack.options import GlanceImage, GlanceUrl
    from bakery.drivers.openstack.source import OpenStack
    from bakery.drivers.qemu.source import Qemu
    from bakery.drivers.shared.appliance import Appliance
    from bakery.drivers.virtualbox.options import RegisteredMachine
    from bakery.drivers.virtualbox.source import VirtualBox
    from bakery.drivers.vsphere.options import LibraryItem, VSphereMachine
    from bakery.drivers.vsphere.source import VSphere

_HOMES: Final = {
    "Alma": "bakery.disk.bases.named_images",
    "Alpine": "bakery.disk.bases.named_images",
    "Appliance": "bakery.drivers.shared.appliance",
    "CentOSStream": "bakery.disk.bases.named_images",
    "CloudImage": "bakery.disk.bases.cloud_image",
    "Debian": "bakery.disk.bases.debian",
    "DebianCloud": "bakery.disk.bases.named_images",
    "Disk": "bakery.disk.partitions",
    "Ec2": "bakery.drivers.ec2.source",
    "Fedora": "bakery.disk.bases.named_images",
    "GlanceImage": "bakery.drivers.openstack.options",
    "GlanceUrl": "bakery.drivers.openstack.options",
    "LibraryItem": "bakery.drivers.vsphere.options",
    "Local": "bakery.drivers.local",
    "Newest": "bakery.drivers.ec2.options",
    "Nspawn": "bakery.drivers.nspawn.source",
    "OpenStack": "bakery.drivers.openstack.source",
    "OpenSuse": "bakery.disk.bases.named_images",
    "Parameter": "bakery.drivers.ec2.options",
    "Partition": "bakery.disk.partitions",
    "Qemu": "bakery.drivers.qemu.source",
    "RegisteredMachine": "bakery.drivers.virtualbox.options",
    "Rocky": "bakery.disk.bases.named_images",
    "Ubuntu": "bakery.disk.bases.named_images",
    "VSphere": "bakery.drivers.vsphere.source",
    "VSphereMachine": "bakery.drivers.vsphere.options",
    "VirtualBox": "bakery.drivers.virtualbox.source",
    "Volume": "bakery.disk.partitions",
}

__all__ = [
    "Alma",
    "Alpine",
    "Appliance",
    "CentOSStream",
    "CloudImage",
    "Debian",
    "DebianCloud",
    "Disk",
    "Ec2",
    "Fedora",
    "GlanceImage",
    "GlanceUrl",
    "LibraryItem",
    "Local",
    "Newest",
    "Nspawn",
    "OpenStack",
    "OpenSuse",
    "Parameter",
    "Partition",
    "Qemu",
    "RegisteredMachine",
    "Rocky",
    "Ubuntu",
    "VSphere",
    "VSphereMachine",
    "VirtualBox",
    "Volume",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
