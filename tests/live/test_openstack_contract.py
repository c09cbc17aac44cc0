"""The OpenStack driver holds to the contract, on a real OpenStack: OS_CLOUD says which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.driver import OpenStackDriver
from bakery.drivers.openstack.source import OpenStack
from bakery.model import Source
from bakery.testing.contract import DriverContract, Exists
from tests.live import openstackrig as rig

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[OpenStackCloud]:
    here = rig.cloud()
    before = rig.left(here)
    yield here
    assert rig.left(here) == before


class TestOpenStackDriver(DriverContract):
    """The whole contract: a server with an address of its network, imaged by Nova."""

    driver_class = OpenStackDriver

    @pytest.fixture
    def source(self) -> Source:
        return OpenStack(
            base=rig.BASE, flavor=rig.FLAVOR, network=rig.NETWORK, host_key="console", user_data=rig.SHOW_HOST_KEY
        )

    @pytest.fixture
    def exists(self, cloud: OpenStackCloud) -> Exists:
        return lambda: rig.left(cloud)


class TestOpenStackDriverFloating(TestOpenStackDriver):
    """The same with a floating address, a config drive, and two flavors."""

    @pytest.fixture
    def source(self) -> Source:
        return OpenStack(
            base=rig.BASE,
            flavor=(rig.FLAVOR, "small"),
            network=rig.INSIDE,
            floating_network=rig.NETWORK,
            config_drive=True,
            host_key="console",
            user_data=rig.SHOW_HOST_KEY,
        )


class TestOpenStackDriverVolume(TestOpenStackDriver):
    """The same from a volume that Cinder uploads to Glance."""

    @pytest.fixture
    def source(self) -> Source:
        return OpenStack(
            base=rig.BASE,
            flavor=rig.FLAVOR,
            network=rig.NETWORK,
            volume=1,
            host_key="console",
            user_data=rig.SHOW_HOST_KEY,
        )
