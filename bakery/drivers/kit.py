"""All that a driver is written with, through one door; docs/drivers.md shows how."""

from __future__ import annotations

from bakery.drivers.base import Driver
from bakery.drivers.publisher import Publisher
from bakery.errors import ConnectError, DriverError, NotYet, PreflightError, RetryableError
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Needs, Problem, Resource, Source, Where
from bakery.state.claim import Claim, Intent
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

__all__ = [
    "Artifact",
    "Cancel",
    "Checkpoint",
    "Claim",
    "ConnectError",
    "Driver",
    "DriverError",
    "Endpoint",
    "Handle",
    "Intent",
    "Keys",
    "Needs",
    "NotYet",
    "PreflightError",
    "Problem",
    "Publisher",
    "Resource",
    "RetryableError",
    "Source",
    "Where",
    "WorkContext",
    "until",
]
