"""The typed `Host` promises nothing that testinfra does not have."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import testinfra.modules
from testinfra.host import Host as Real

from bakery.smoke import host

MODULES = {
    "file": "File",
    "service": "Service",
    "socket": "Socket",
    "package": "Package",
    "user": "User",
    "group": "Group",
    "mount_point": "MountPoint",
    "interface": "Interface",
    "process": "Process",
    "system_info": "SystemInfo",
}
SUBCLASSES = {"inode", "expiration_date", "systemd_properties", "is_masked", "is_valid"}


def members(cls: type[Any]) -> set[str]:
    return {name for name in {*cls.__annotations__, *vars(cls)} if not name.startswith("_")}


def test_every_member_of_host_is_testinfras() -> None:
    wanted = members(host.Host)
    assert wanted <= {*testinfra.modules.modules, *dir(Real)}


@pytest.mark.parametrize(("module", "name"), MODULES.items())
def test_every_member_of_a_module_is_testinfras(module: str, name: str) -> None:
    real = testinfra.modules.get_module_class(module)
    family = [real, *(cls for cls in vars(inspect.getmodule(real)).values() if isinstance(cls, type))]
    known = {member for cls in family for member in dir(cls)}
    assert members(getattr(host, name)) <= known


def test_describing_host_imports_neither_testinfra_nor_pytest() -> None:
    source = inspect.getsource(host)
    assert "import testinfra" not in source
    assert "import pytest" not in source
