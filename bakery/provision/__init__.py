"""What a machine is given: templates, packages, and the configuration management that a team has already.

Plain functions that take a `Machine`, for use in tasks. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakery.provision.ansible_local_play import ansible_local
    from bakery.provision.ansible_play import ansible
    from bakery.provision.chef_client import chef
    from bakery.provision.itamae_local import itamae
    from bakery.provision.package_install import packages
    from bakery.provision.puppet_apply import puppet
    from bakery.provision.puppet_server import puppet_agent
    from bakery.provision.render import template
    from bakery.provision.salt_call import salt

_HOMES = {
    "ansible": "bakery.provision.ansible_play",
    "ansible_local": "bakery.provision.ansible_local_play",
    "chef": "bakery.provision.chef_client",
    "itamae": "bakery.provision.itamae_local",
    "packages": "bakery.provision.package_install",
    "puppet": "bakery.provision.puppet_apply",
    "puppet_agent": "bakery.provision.puppet_server",
    "salt": "bakery.provision.salt_call",
    "template": "bakery.provision.render",
}

__all__ = ["ansible", "ansible_local", "chef", "itamae", "packages", "puppet", "puppet_agent", "salt", "template"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'bakery.provision' has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Show what users import, and nothing else."""
    return __all__
