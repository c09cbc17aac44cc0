"""The EC2 driver holds to the contract: against moto's server, with a real guest behind every instance."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bakery.drivers.ec2.driver import Ec2Driver
from bakery.drivers.ec2.source import Ec2
from bakery.model import Source, Where
from bakery.testing.aws import Aws, aws
from bakery.testing.aws.cloud import BASE, REGION
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.contract import DriverContract, Exists

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::packages/*"}],
}

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with aws(tmp_path_factory.mktemp("aws"), base=disk) as running:
        yield running
        assert running.guests is not None
        assert running.guests.errors == []


@pytest.fixture(autouse=True)
def environment(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)


class TestEc2Driver(DriverContract):
    """The whole contract, on moto and QEMU; with CreateSnapshot and RegisterImage."""

    driver_class = Ec2Driver

    @pytest.fixture
    def source(self) -> Source:
        return Ec2(base=BASE, region=REGION, instance_type="t3.micro", poll=0.2)

    @pytest.fixture(params=[4, pytest.param(1, marks=pytest.mark.all)], ids=["some", "every"])
    def crash_points(self, request: pytest.FixtureRequest) -> Iterable[int]:
        return itertools.count(1, request.param)

    @pytest.fixture
    def exists(self, cloud: Aws) -> Exists:
        return lambda: {f"{kind} {name}" for kind, names in cloud.left().items() for name in names}

    @pytest.fixture
    def where(self) -> Where:
        return Where(settings={"region": REGION})


class TestEc2DriverOtherWays(TestEc2Driver):
    """The same with CreateImage, spot, a key pair, a temporary role, a copy, and the host key from the console."""

    @pytest.fixture
    def source(self) -> Source:
        return Ec2(
            base=BASE,
            region=REGION,
            instance_type=("t3.micro", "t3.small"),
            poll=0.2,
            spot=True,
            key_pair=True,
            host_key="console",
            capture_with="image",
            copy_to=("eu-central-1",),
            encrypt="alias/images",
            instance_policy=POLICY,
        )

    @pytest.fixture
    def exists(self, cloud: Aws) -> Exists:
        regions = (REGION, "eu-central-1")
        return lambda: {
            f"{kind} {name}" for region in regions for kind, names in cloud.left(region).items() for name in names
        }
