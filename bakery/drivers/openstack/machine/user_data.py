"""User data: our keys, and beside them whatever the user gave."""

from __future__ import annotations

import base64

from bakery.drivers import user_data
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import ImagefileError
from bakery.state.claim import Claim

LIMIT = 65535
"""Characters after base64 (docs.openstack.org/api-ref/compute, Create Server)."""


def compose(source: OpenStack, claim: Claim) -> str | None:
    """Return the user data of one machine as Nova takes them, or None.

    Raises:
        ImagefileError: they are too long, or of an unknown kind.
    """
    theirs = user_data.text_of(source.user_data)
    console = source.host_key == "console"  # then theirs stand alone, as they are
    text = theirs if console else user_data.of_machine(claim, user=source.user, theirs=theirs)
    coded = base64.b64encode(user_data.packed(text, LIMIT * 3 // 4)).decode()
    if len(coded) > LIMIT:
        raise ImagefileError(
            f"the user data have {len(coded)} characters in base64 when packed, Nova takes {LIMIT}",
            hint="put the long part into a task, or behind an #include address",
        )
    return coded or None
