"""What a machine writes on its console, which comes over a wire that nobody else can write to."""

from __future__ import annotations

import re

from bakery.errors import NotYet

BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
"""What cloud-init writes (cloudinit/config/cc_keys_to_console.py)."""


def host_key_from(text: str) -> str:
    """Return the ed25519 host key that a machine printed last.

    Raises:
        NotYet: it did not print one so far.
    """
    blocks = BLOCK.findall(text)
    for line in blocks[-1].splitlines() if blocks else ():
        key = re.search(r"ssh-ed25519 [A-Za-z0-9+/=]{60,}", line)
        if key:
            return key[0]
    raise NotYet("its host key is not on the console yet")
