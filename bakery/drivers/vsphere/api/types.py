"""vSphere's types, loaded when they are first needed; pyvmomi's own hints know no constructor's arguments."""

from __future__ import annotations

from typing import Any


def vim() -> Any:
    """Return pyvmomi's module of vSphere's types: `vim().vm.ConfigSpec(...)`."""
    from pyVmomi import vim as module

    return module


def vmodl() -> Any:
    """Return pyvmomi's module of the types below those: faults and the property collector."""
    from pyVmomi import vmodl as module

    return module


def soap() -> Any:
    """Return pyvmomi's module of stubs, which send what is called."""
    from pyVmomi import SoapAdapter

    return SoapAdapter


def support() -> Any:
    """Return pyvmomi's module of versions and type lookups."""
    from pyVmomi import VmomiSupport

    return VmomiSupport
