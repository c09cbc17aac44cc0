"""What the live tests of OpenStack share: which cloud, the tiny guest's user data, and all that the project has."""

from __future__ import annotations

import os

import pytest

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds

SHOW_HOST_KEY = """#!/bin/sh
dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/tmp/made
{
    echo "-----BEGIN SSH HOST KEY KEYS-----"
    grep '^ssh-ed25519' /tmp/made
    echo "-----END SSH HOST KEY KEYS-----"
} >/dev/console
"""
"""The tiny guest knows no cloud-init: it makes a host key of its own, and shows it where only Nova can read it."""

BASE = os.environ.get("BAKERY_OPENSTACK_BASE", "tiny")
FLAVOR = os.environ.get("BAKERY_OPENSTACK_FLAVOR", "tiny")
NETWORK = os.environ.get("BAKERY_OPENSTACK_NETWORK", "provider")
HERE = os.environ.get("BAKERY_OPENSTACK_HERE", "10.98.0.1")
"""This host's address, as the cloud's services see it; Glance refuses to fetch from 127.0.0.1."""
INSIDE = os.environ.get("BAKERY_OPENSTACK_INSIDE", "private")


def cloud() -> OpenStackCloud:
    """Return the cloud that OS_CLOUD names."""
    if "OS_CLOUD" not in os.environ:
        pytest.skip("OS_CLOUD names no OpenStack; docs/openstack.md says how the tests get one")
    return OpenStackClouds().get(OpenStackAccount())


def left(here: OpenStackCloud) -> set[str]:
    """Return everything that the project has, one text for each thing."""
    found: set[str] = set()
    for kind in resources.KINDS:
        listed = resources.list_all(here, kind)
        if kind == "image":
            listed = [image for image in listed if image.owner == here.project]
            listed += resources.list_all(here, kind, is_hidden=True, owner=here.project)
        if kind == "port":  # the network's own: DHCP, routers
            listed = [port for port in listed if not port.device_owner.startswith("network:")]
        found |= {f"{kind} {thing.name or ''} {thing.id}" for thing in listed}
    rules = here.call("network", "list the rules", lambda network: list(network.security_group_rules()))
    found |= {f"rule {rule.id}" for rule in rules}
    return found
