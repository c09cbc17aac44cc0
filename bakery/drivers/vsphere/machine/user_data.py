"""What cloud-init reads from the machine's settings: our keys, and beside them whatever the user gave.

https://docs.cloud-init.io/en/latest/reference/datasources/vmware.html
"""

from __future__ import annotations

import base64

import yaml

from bakery.drivers import cloudinit, user_data
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import ImagefileError
from bakery.state.claim import Claim

KEYS = ("guestinfo.userdata", "guestinfo.userdata.encoding", "guestinfo.metadata", "guestinfo.metadata.encoding")
PLAIN = 16 << 10
"""Bytes that go as they are; more are packed."""
LIMIT = 1 << 20
"""Characters: what ESXi keeps for a guest is bounded by `tools.setInfo.sizeLimit`, 1 MiB."""


def settings(source: VSphere, claim: Claim) -> dict[str, str]:
    """Return the settings with which a machine is given its keys.

    Raises:
        ImagefileError: the user's data are too long, or of an unknown kind.
    """
    text = user_data.of_machine(claim, user=source.user, theirs=user_data.text_of(source.user_data))
    packed = user_data.packed(text, PLAIN)
    coded = base64.b64encode(packed).decode()
    if len(coded) > LIMIT:
        raise ImagefileError(
            f"the user data have {len(coded)} characters when packed, a machine's setting takes {LIMIT}",
            hint="put the long part into a task, or behind an #include address",
        )
    return {
        "guestinfo.userdata": coded,
        "guestinfo.userdata.encoding": "gzip+base64" if packed.startswith(b"\x1f\x8b") else "base64",
        "guestinfo.metadata": base64.b64encode(_metadata(claim).encode()).decode(),
        "guestinfo.metadata.encoding": "base64",
    }


def for_seed(source: VSphere, claim: Claim) -> str:
    """Return the user data of a machine with a seed disk: one that is built on takes its host key from there.

    Raises:
        ImagefileError: the user's data are of an unknown kind.
    """
    theirs = user_data.text_of(source.user_data)
    if theirs and claim.role == "build":
        return user_data.join(cloudinit.configuration_for_seed(claim.keys, user=source.user), theirs)
    if claim.role == "build":
        return cloudinit.user_data_for_seed(claim.keys, user=source.user)
    return cloudinit.user_data_for_test(claim.keys, user=source.user)


def _metadata(claim: Claim) -> str:
    """Write the metadata; the instance id is new, so that cloud-init does its work again."""
    return yaml.safe_dump({"instance-id": claim.name}, sort_keys=False)


def none() -> dict[str, str]:
    """Return the settings that take all of it out of a machine again."""
    return dict.fromkeys(KEYS, "")
