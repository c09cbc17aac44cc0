"""Images for a provider on which they never ran: take a disk made locally, upload it, try it there, keep it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bakery.publish.base import Publisher
    from bakery.publish.ec2 import Ec2
    from bakery.publish.openstack import OpenStack

_HOMES: Final = {
    "Ec2": "bakery.publish.ec2",
    "OpenStack": "bakery.publish.openstack",
    "Publisher": "bakery.publish.base",
}

__all__ = ["Ec2", "OpenStack", "Publisher"]


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
