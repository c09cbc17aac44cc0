"""A whole life on vSphere without logging in: launch, capture, relaunch, keep; with ledgers that can crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bakery.drivers.vsphere.driver import VSphereDriver
from tests.contract import cloudlife


class OneLedger(cloudlife.OneLedger):
    """One ledger for a whole life: images are handed over at the end, with the names of older ones."""

    handed: ClassVar[frozenset[str]] = frozenset({"image", "aside", "file", "library item", "library aside"})


@dataclass
class Life(cloudlife.CloudLife):
    """One build's life."""

    driver_class = VSphereDriver
    ledger: cloudlife.OneLedger = field(default_factory=OneLedger)
