"""What most functions here need: where, what the user asked for, and the right to make things."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bakery.drivers.ec2.api.account import Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.source import Ec2
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True, eq=False)
class Ec2Job:
    """One machine's or image's making.

    Args:
        clouds: the process's clouds.
        cloud: the one it is made in.
        source: what the user asked for.
        claim: for the journal, cancellation and events.
    """

    clouds: Ec2Clouds
    cloud: Ec2Cloud
    source: Ec2
    claim: Claim

    def at(self, region: str) -> Ec2Job:
        """Return the same job in another region."""
        return replace(self, cloud=self.clouds.region(self.cloud, region))
