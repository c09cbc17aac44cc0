"""User data: our keys, and beside them whatever the user gave."""

from __future__ import annotations

from typing import Any

import yaml

from bakery.drivers import cloudinit
from bakery.drivers.ec2.source import Ec2
from bakery.errors import ImagefileError
from bakery.state.claim import Claim

LIMIT = 16 * 1024
"""Bytes before base64 (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html)."""


def compose(source: Ec2, claim: Claim) -> str:
    """Return the user data of one machine.

    Raises:
        ImagefileError: it is too long for EC2, or of an unknown kind.
    """
    ours = cloudinit.user_data(claim.keys, user=source.user)
    if source.host_key == "console":
        ours = _without_host_key(ours)
    theirs = source.user_data if claim.role == "build" else ""
    text = cloudinit.joined(ours, theirs) if theirs else ours
    if len(text.encode()) > LIMIT:
        raise ImagefileError(
            f"the user data have {len(text.encode())} bytes, EC2 takes {LIMIT}",
            hint="put the long part into a task, or behind an #include address",
        )
    return text


def _without_host_key(text: str) -> str:
    """The machine makes its own host key and shows it on the console."""
    config: dict[str, Any] = yaml.safe_load(text)
    config.pop("ssh_keys", None)
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False, width=10_000)
