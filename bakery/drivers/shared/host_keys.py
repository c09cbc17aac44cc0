"""Which host key a machine is known by, where cloud-init gives it what it is known by.

A machine that is built on is given a host key. One that is only tested makes its own, as a user's machine does, and
proves that it is the one: see `bakery.machine.transport.learned_key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bakery.machine.transport import learned_key_file
from bakery.model import Handle
from bakery.state.claim import Claim

LEARNED: Final = "host-key"
"""The file in a machine's folder that holds the key that it was seen to have."""


def given(claim: Claim) -> str:
    """Return the host key that a machine is given, in public; empty for one that makes its own."""
    return claim.keys.host_public if claim.role == "build" else ""


def known(handle: Handle) -> str:
    """Return the host key that a machine was given, or was seen to have; empty while neither is so."""
    return str(handle.data["host_public"]) or learned_key_file.learned(handle.folder / LEARNED)


def endpoint_data(handle: Handle, host_key: str) -> Mapping[str, Any]:
    """Return what goes into an endpoint's data: how its key is learned, where there is none yet."""
    return {} if host_key else learned_key_file.proving(handle.folder / LEARNED)
