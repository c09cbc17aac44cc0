"""The same base, the same step, on the same OpenStack by Packer's builder (Debian's package) and by bakery.

OS_CLOUD says which; the tests' settings (`tests/live/openstackrig.py`) say what is used. Not among the cases that run
without an argument, as a cloud is needed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.machine import network
from benchmarks.bench import Aim, Project, Row, timed
from tests.live import openstackrig as rig

STEP = "echo hello > /etc/hello; sync"
IMAGEFILE = """
import bakery
from bakery.drivers import OpenStack

@bakery.source
def cloud() -> OpenStack:
    return OpenStack(
        base={base!r}, flavor={flavor!r}, network={inside!r}, floating_network={outside!r}, host_key="console",
        user_data={show!r},
    )

@bakery.task
def hello(m):
    m.run({step!r})

@bakery.test
def said_hello(host):
    assert host.file("/etc/hello").contains("hello")

@bakery.image
def timed_ours(): ...
"""
ROUNDS = int(os.environ.get("BAKERY_BENCH_ROUNDS", "1"))


def run(folder: Path) -> list[Row]:
    """Measure in turns, so that a busy host is equally busy for both."""
    cloud = rig.cloud()
    project = Project(folder / "ours")
    words = {"base": rig.BASE, "flavor": rig.FLAVOR, "inside": rig.INSIDE, "outside": rig.NETWORK}
    project.write(IMAGEFILE.format(**words, show=rig.SHOW_HOST_KEY, step=STEP))
    theirs: list[float] = []
    plain: list[tuple[float, str]] = []
    smoked: list[tuple[float, str]] = []
    for _ in range(ROUNDS):
        theirs.append(packer(folder / "theirs", cloud))
        plain.append((project.bake("--no-cache", "--no-test"), project.phases()))
        smoked.append((project.bake("--no-cache"), project.phases()))
    _tidy(cloud)
    return [
        Row("OpenStack, no smoke test", "packer build", *_best(plain, theirs, 1.0)),
        Row("OpenStack, with smoke tests", "packer build", *_best(smoked, theirs, 1.2)),
    ]


def _best(ours: list[tuple[float, str]], theirs: list[float], limit: float) -> tuple[float, float, Aim, str]:
    seconds, note = min(ours)
    return seconds, min(theirs), Aim(limit), note


def packer(folder: Path, cloud: OpenStackCloud) -> float:
    """Time `packer build`: own key pair, floating address, shell provisioner, image."""
    folder.mkdir(parents=True, exist_ok=True)
    group = _group(cloud)
    builder = {
        "type": "openstack",
        "cloud": os.environ["OS_CLOUD"],
        "image_name": "timed_theirs",
        "flavor": rig.FLAVOR,
        "source_image_name": rig.BASE,
        "ssh_username": "root",
        "ssh_timeout": "10m",
        "security_groups": [group],
        "networks": [network.network_named(cloud, rig.INSIDE).id],
        "floating_ip_network": rig.NETWORK,
        "user_data": rig.SHOW_HOST_KEY,
    }
    template = folder / "template.json"
    provisioners = [{"type": "shell", "inline": [STEP]}]
    template.write_text(json.dumps({"builders": [builder], "provisioners": provisioners}), encoding="utf-8")
    return timed(["packer", "build", template], folder, {"CHECKPOINT_DISABLE": "1"})


def _group(cloud: OpenStackCloud) -> str:
    """Packer makes no security group: one for it that lets anybody in, made before the clock starts."""
    known = [one.id for one in resources.list_all(cloud, "security-group", name="bench")]
    if known:
        return str(known[0])
    made = cloud.call(
        "network",
        "make a security group",
        lambda network: network.create_security_group(name="bench", description="for packer").id,
    )
    network.open_ssh(cloud, made, ("0.0.0.0/0",))
    return str(made)


def _tidy(cloud: OpenStackCloud) -> None:
    for name in ("timed_ours", "timed_theirs"):
        for hidden in ("false", "true"):
            for image in resources.list_all(cloud, "image", name=name, os_hidden=hidden, owner=cloud.project):
                resources.delete(cloud, "image", image.id)
    for group in resources.list_all(cloud, "security-group", name="bench"):
        resources.delete(cloud, "security-group", group.id)
