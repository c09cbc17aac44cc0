"""A whole life on EC2 without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bakery.drivers.ec2.driver import Ec2Driver
from tests.contract import cloudlife


class OneLedger(cloudlife.OneLedger):
    """One ledger for a whole life: what is handed over at the end are the images, not the machines."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "snapshot", "volume"})


@dataclass
class Life(cloudlife.CloudLife):
    """One build's life."""

    driver_class = Ec2Driver
    ledger: cloudlife.OneLedger = field(default_factory=OneLedger)
