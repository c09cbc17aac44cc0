"""A Debian that takes its keys from a cloud, for the live tests of OpenStack: `bake -C tests/rigs/cloud-init`."""

import bakery
from bakery import Machine
from bakery.drivers import Debian, Nspawn


@bakery.source
def here() -> Nspawn:
    return Nspawn(base=Debian("bookworm"), disk="3G")


@bakery.task
def cloud_init(m: Machine) -> None:
    """Install cloud-init."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    m.run("apt-get update && apt-get install --yes --no-install-recommends cloud-init sudo", env=env)


@bakery.image(sources=[here], tasks=[cloud_init], tests=[], builtin_tests=False)
def cloudy() -> None:
    """Debian with cloud-init."""
