"""User data: our keys, and beside them whatever the user gave."""

from __future__ import annotations

from bakery.drivers import user_data
from bakery.drivers.ec2.source import Ec2
from bakery.errors import ImagefileError
from bakery.state.claim import Claim

LIMIT = 16 * 1024
"""Bytes before base64 (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html)."""


def compose(source: Ec2, claim: Claim) -> str | bytes:
    """Return the user data of one machine; packed by gzip, as bytes, where they would be too long.

    Raises:
        ImagefileError: they are too long for EC2 even so, or of an unknown kind.
    """
    given = source.host_key == "given"  # else the machine makes its own host key and shows it on the console
    theirs = user_data.text_of(source.user_data)
    text = user_data.of_machine(claim, user=source.user, theirs=theirs, host_key=given)
    data = user_data.packed(text, LIMIT)
    if len(data) > LIMIT:
        raise ImagefileError(
            f"the user data have {len(text.encode())} bytes and {len(data)} when packed, EC2 takes {LIMIT}",
            hint="put the long part into a task, or behind an #include address",
        )
    return text if data == text.encode() else data
