"""User data: our keys, and beside them whatever the user gave."""

from __future__ import annotations

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import yaml

from bakery import cloudinit
from bakery.claim import Claim
from bakery.drivers.ec2.source import Ec2
from bakery.errors import ImagefileError

LIMIT = 16 * 1024
"""Bytes before base64 (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html)."""

KINDS = {
    "#cloud-config-archive": "cloud-config-archive",
    "#cloud-config": "cloud-config",
    "#cloud-boothook": "cloud-boothook",
    "#include": "x-include-url",
    "## template: jinja": "jinja2",
    "#!": "x-shellscript",
}
"""How cloud-init tells parts from their first line (docs.cloud-init.io, User data formats)."""


def compose(source: Ec2, claim: Claim) -> str:
    """Return the user data of one machine.

    Raises:
        ImagefileError: it is too long for EC2, or of an unknown kind.
    """
    ours = cloudinit.user_data(claim.keys, user=source.user)
    if source.host_key == "console":
        ours = _without_host_key(ours)
    theirs = source.user_data if claim.role == "build" else ""
    text = _joined(ours, theirs) if theirs else ours
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


def _joined(ours: str, theirs: str) -> str:
    """Several parts in one, as cloud-init reads them; theirs may be MIME already."""
    parts = MIMEMultipart()
    parts.attach(MIMEText(ours, "cloud-config", "us-ascii"))
    parts.attach(MIMEText(theirs, _kind(theirs), "utf-8"))
    return parts.as_string()


def _kind(text: str) -> str:
    for start, kind in KINDS.items():
        if text.startswith(start):
            return kind
    known = ", ".join(KINDS)
    raise ImagefileError(
        "Ec2(user_data=...): cannot tell of what kind the user data are",
        why=f"they begin with {text[:20]!r}",
        hint=f"the first line decides: {known}",
    )
