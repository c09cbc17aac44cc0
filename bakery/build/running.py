"""A machine of a build while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bakery.drivers.base import Driver
from bakery.model import Handle, Result
from bakery.state.claim import Claim
from bakery.state.ledger import ClaimLedger

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.machine.transport.link import Link


@dataclass(frozen=True, eq=False)
class RunningMachine:
    """A machine that runs and lets us in."""

    driver: Driver[Any]
    handle: Handle
    claim: Claim
    link: Link
    machine: Machine
    held: ClaimLedger

    def ask(self, script: str, title: str) -> Result:
        """Run a look of bakery's own as the login user.

        Args:
            script: lines for a POSIX shell.
            title: what messages call it.

        Raises:
            TaskError: the connection was lost under it.
            DriverError: because the machine died.
        """
        from bakery.machine.execute import ask

        return ask(self.link, script, title)
