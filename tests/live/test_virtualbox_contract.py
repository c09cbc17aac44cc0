"""The VirtualBox driver holds to the contract: VirtualBox is real, QEMU plays the running guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.model import Source
from bakery.testing.contract import DriverContract, Exists
from bakery.testing.virtualbox.root import Home
from tests.live import virtualboxrig as rig

pytestmark = [pytest.mark.live, pytest.mark.virtualbox, pytest.mark.timeout(3600)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with rig.registry(tmp_path / "home") as home:
        for name, value in home.environ.items():
            monkeypatch.setenv(name, value)
        yield home
        assert rig.left(home) == set()


class TestVirtualBoxDriver(DriverContract):
    """The whole contract: a machine of a converted disk, exported as an OVA that is imported again."""

    driver_class = VirtualBoxDriver

    @pytest.fixture
    def source(self, home: Home) -> Source:
        assert home.path.is_dir()
        return rig.source()

    @pytest.fixture
    def exists(self, home: Home, tmp_path: Path) -> Exists:
        def look() -> set[str]:
            files = {str(path) for path in tmp_path.glob("machines/*/virtualbox/**/*")}
            return rig.left(home) | files | {str(path) for path in tmp_path.glob("images/*")}

        return look


@pytest.mark.all
class TestVirtualBoxDriverVmdk(TestVirtualBoxDriver):
    """The same, with a stream-optimized VMDK as image."""

    @pytest.fixture
    def source(self, home: Home) -> Source:
        assert home.path.is_dir()
        return rig.source(format="vmdk", controller="virtio", chipset="ich9")
