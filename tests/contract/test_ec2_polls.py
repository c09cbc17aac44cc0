"""Builds of one worker are processes of their own, and ask AWS for states together: moto's server counts the calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.ec2.api.host_poller import VARIABLE
from bakery.testing.aws import Aws, Proxy, aws
from bakery.testing.aws.cloud import BASE, REGION

BUILDS = 5
SECONDS = 4.0
POLL = 0.5
BUILD = """
import sys, time
from bakery.drivers.ec2.api.account import Ec2Account, Ec2Cloud
from bakery.errors import NotYet

cloud = Ec2Cloud(Ec2Account(region=sys.argv[1], poll=float(sys.argv[3])))
end, states = time.monotonic() + float(sys.argv[4]), set()
while time.monotonic() < end:
    try:
        states.add(cloud.instances.get(sys.argv[2])["State"]["Name"])
    except NotYet:
        pass
    time.sleep(0.05)
print(*states)
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Aws]:
    with aws(tmp_path) as running:
        yield running


def test_the_builds_of_a_worker_are_one_poller(cloud: Aws, tmp_path: Path) -> None:
    started = cloud.client().run_instances(ImageId=BASE, MinCount=BUILDS, MaxCount=BUILDS, InstanceType="t3.micro")
    instances = [instance["InstanceId"] for instance in started["Instances"]]
    with Proxy(cloud.url) as proxy:
        environ = {**os.environ, **cloud.environment, "AWS_ENDPOINT_URL": proxy.url, VARIABLE: str(tmp_path / "polls")}
        builds = [
            subprocess.Popen(
                [sys.executable, "-c", BUILD, REGION, name, str(POLL), str(SECONDS)],
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in instances
        ]
        said = [build.communicate(timeout=60)[0].strip() for build in builds]
    assert [build.returncode for build in builds] == [0] * BUILDS
    assert said == ["running"] * BUILDS
    looks = proxy.calls.count("DescribeInstances")
    assert 2 <= looks <= 2 * SECONDS / POLL  # some begin later than others; each for itself would be five times as many
