"""What an imagefile builds on: sources, bases, and what describes a look-up. Each is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakery.disk.bases.cloud_image import CloudImage
    from bakery.disk.bases.debian import Debian
    from bakery.drivers.ec2.options import Newest, Parameter
    from bakery.drivers.ec2.source import Ec2
    from bakery.drivers.nspawn.source import Nspawn
    from bakery.drivers.openstack.options import GlanceImage, GlanceUrl
    from bakery.drivers.openstack.source import OpenStack
    from bakery.drivers.qemu.source import Qemu
    from bakery.drivers.virtualbox.options import Appliance, RegisteredMachine
    from bakery.drivers.virtualbox.source import VirtualBox

_HOMES = {
    "Appliance": "bakery.drivers.virtualbox.options",
    "CloudImage": "bakery.disk.bases.cloud_image",
    "Debian": "bakery.disk.bases.debian",
    "Ec2": "bakery.drivers.ec2.source",
    "GlanceImage": "bakery.drivers.openstack.options",
    "GlanceUrl": "bakery.drivers.openstack.options",
    "Newest": "bakery.drivers.ec2.options",
    "Nspawn": "bakery.drivers.nspawn.source",
    "OpenStack": "bakery.drivers.openstack.source",
    "Parameter": "bakery.drivers.ec2.options",
    "Qemu": "bakery.drivers.qemu.source",
    "RegisteredMachine": "bakery.drivers.virtualbox.options",
    "VirtualBox": "bakery.drivers.virtualbox.source",
}

__all__ = [
    "Appliance",
    "CloudImage",
    "Debian",
    "Ec2",
    "GlanceImage",
    "GlanceUrl",
    "Newest",
    "Nspawn",
    "OpenStack",
    "Parameter",
    "Qemu",
    "RegisteredMachine",
    "VirtualBox",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'bakery.drivers' has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Show what users import."""
    return __all__
