"""The VMware driver holds to the contract on a vCenter that VSPHERE_SERVER names; see docs/vmware.md."""

from __future__ import annotations

import os
from typing import Any

import pytest

from bakery.drivers.vsphere.api import inventory
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import VCenters
from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Source
from bakery.testing.contract import DriverContract, Exists

pytestmark = [pytest.mark.live, pytest.mark.vmware, pytest.mark.timeout(3600)]

PLACE = ("cluster", "datacenter", "datastore", "network", "resource_pool", "folder")
"""Options of the source that BAKERY_VSPHERE_CLUSTER and so on may give."""


def source_here(**more: Any) -> VSphere:
    """Return a source for the vCenter that the environment names."""
    if "BAKERY_VSPHERE_BASE" not in os.environ:
        pytest.skip("BAKERY_VSPHERE_BASE names no template; docs/vmware.md says what the tests need")
    given = {name: os.environ.get(f"BAKERY_VSPHERE_{name.upper()}") for name in PLACE}
    return VSphere(base=os.environ["BAKERY_VSPHERE_BASE"], **{**given, **more})


class TestVSphereDriverOnVCenter(DriverContract):
    """The whole contract, with templates."""

    driver_class = VSphereDriver

    @pytest.fixture
    def source(self) -> Source:
        return source_here()

    @pytest.fixture
    def exists(self) -> Exists:
        source_here()
        center = VCenters().get(VSphereAccount())

        def look() -> set[str]:
            known = inventory.read(center, machines=True)
            return {f"{kind} {one.path} {one.moid}" for kind in ("machine", "folder") for one in known.of(kind)}

        return look


class TestVSphereDriverWithSnapshots(TestVSphereDriverOnVCenter):
    """The same with machines that have a snapshot, whose clones are linked."""

    @pytest.fixture
    def source(self) -> Source:
        return source_here(image="snapshot")
