"""Images for a provider on which they never ran: take a disk made locally, upload it, try it there, keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bakery.util.lazy import lazy_names

if TYPE_CHECKING:
    from bakery.drivers.ec2.publish.publisher import Ec2
    from bakery.drivers.openstack.publisher import OpenStack
    from bakery.drivers.publisher import Publisher
    from bakery.drivers.virtualbox.publisher import VirtualBox
    from bakery.drivers.vsphere.publisher import VSphere

_HOMES: Final = {
    "Ec2": "bakery.drivers.ec2.publish.publisher",
    "OpenStack": "bakery.drivers.openstack.publisher",
    "Publisher": "bakery.drivers.publisher",
    "VSphere": "bakery.drivers.vsphere.publisher",
    "VirtualBox": "bakery.drivers.virtualbox.publisher",
}

__all__ = ["Ec2", "OpenStack", "Publisher", "VSphere", "VirtualBox"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
