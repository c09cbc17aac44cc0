"""The VMware driver holds to the contract: vcsim's vCenter and single host, with a QEMU guest behind each machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.vsphere.driver import VSphereDriver
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Source
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.contract import DriverContract, Exists
from tests.contract.vcsim import HostStandIn, VCenterStandIn

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", guests=disk) as front:
        yield front


class TestVSphereDriver(DriverContract):
    """The whole contract: a template cloned, and made."""

    driver_class = VSphereDriver

    @pytest.fixture(autouse=True)
    def known(self, front: VCenterStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the environment name the server, as where another process cleans up."""
        for name, value in front.environment.items():
            monkeypatch.setenv(name, value)

    @pytest.fixture
    def source(self, front: VCenterStandIn) -> Source:
        return VSphere(**front.options)

    @pytest.fixture
    def exists(self, front: VCenterStandIn) -> Exists:
        return front.exists


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostStandIn]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with HostStandIn(tmp_path_factory.mktemp("vcsim") / "front", guests=disk) as front:
        yield front


@pytest.mark.all
class TestVSphereDriverOnASingleHost(DriverContract):
    """The whole contract: a machine's disks copied, and a machine that is off."""

    driver_class = VSphereDriver

    @pytest.fixture(autouse=True)
    def known(self, host: HostStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the environment name the server, as where another process cleans up."""
        for name, value in host.environment.items():
            monkeypatch.setenv(name, value)

    @pytest.fixture
    def source(self, host: HostStandIn) -> Source:
        return VSphere(**host.options)

    @pytest.fixture
    def exists(self, host: HostStandIn) -> Exists:
        return host.exists
