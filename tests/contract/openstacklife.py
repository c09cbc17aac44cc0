"""A whole life on OpenStack without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bakery.drivers.openstack.driver import OpenStackDriver
from tests.contract import cloudlife


class OneLedger(cloudlife.OneLedger):
    """One ledger for a whole life: images are handed over at the end, the volumes they came from are not."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "snapshot"})


@dataclass
class Life(cloudlife.CloudLife):
    """One build's life."""

    driver_class = OpenStackDriver
    patience = 120
    ledger: cloudlife.OneLedger = field(default_factory=OneLedger)
