"""The small nouns of an `Ec2` source: volumes, spot, roles, where to find a base or a subnet. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bakery.drivers.shared import settings
from bakery.errors import ImagefileError


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The newest image that fits, looked up in pre-flight and again at launch.

    Args:
        owner: account id, `self`, `amazon` or `aws-marketplace`. Required: without one, an image of that name
            which anybody has made public would do.
        name: a name with the wildcards `*` and `?`, as in `debian-12-amd64-*`.
        filters: further filters of DescribeImages: `{"architecture": "arm64"}`; a value may be a list of values.
        include_deprecated: also images whose owner has deprecated them.
    """

    owner: str
    name: str = "*"
    filters: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict[str, "str | tuple[str, ...]"])
    include_deprecated: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty owner."""
        if not self.owner:
            raise ImagefileError(
                "Newest(...) needs an owner",
                hint="owner='136693071363' is Debian, '099720109477' Ubuntu, 'amazon' Amazon, 'self' this account",
            )


@dataclass(frozen=True)
class Parameter:
    """An image id kept in an SSM parameter, as in `/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-...`."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Network things found by what they carry.

    Args:
        filters: as in DescribeVpcs, DescribeSubnets, DescribeSecurityGroups: `{"tag:use": "build"}`.
        pick: for subnets, when several fit: the one with `most_free` addresses, or any at `random`.
    """

    filters: Mapping[str, str | tuple[str, ...]]
    pick: Literal["most_free", "random"] = "most_free"


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One disk of a machine or of an image; what is None is left to the base image or to EC2.

    Args:
        device: its name in the block device mapping, as in `/dev/sdf`; None is the root device.
        size: GiB.
        volume_type: `gp3`, `io2`, ...
        iops: per second.
        throughput: MiB/s; gp3 only.
        encrypted: True, or False where the account's default must not rule.
        key: KMS key id, ARN or alias; means encrypted.
        snapshot: a snapshot to start from.
        keep: the volume outlives its instance.
        ephemeral: an instance store, `ephemeral0`.
        absent: takes a device of the base image away.
    """

    device: str | None = None
    size: int | None = None
    volume_type: str | None = "gp3"
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool | None = None
    key: str | None = None
    snapshot: str | None = None
    keep: bool = False
    ephemeral: str | None = None
    absent: bool = False


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Spare capacity at a lower price.

    Args:
        max_price: the most to pay, in US dollars an hour; None is the on-demand price.
    """

    max_price: float | None = None


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role to take on before anything is asked of AWS.

    Args:
        arn: the role.
        session_name: how it shows in CloudTrail.
        external_id: what a third party's role asks for.
        duration: seconds a session lasts; renewed by itself.
        policy: a session policy as JSON text, to narrow the role down.
        tags: session tags.
        transitive_tags: names of tags that are handed on to the next role.
        mfa_serial: the MFA device; the code is read from the environment variable `mfa_env`.
        mfa_env: name of that variable.
    """

    arn: str
    session_name: str = "bakery"
    external_id: str | None = None
    duration: int = 3600
    policy: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    transitive_tags: tuple[str, ...] = ()
    mfa_serial: str | None = None
    mfa_env: str = "AWS_MFA_CODE"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The instance metadata service of the build machine.

    Args:
        tokens: `required` is IMDSv2 alone.
        hop_limit: network hops an answer may take; 2 lets containers ask.
        tags: whether the machine may read its own tags there.
        enabled: False switches the service off; cloud-init then gets no keys, so it is for prepared images only.
    """

    tokens: Literal["required", "optional"] = "required"
    hop_limit: int = 1
    tags: bool = False
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class FastLaunch:
    """Windows fast launch: EC2 keeps machines of the image that have gone through their first boot, as snapshots.

    Args:
        parallel: machines that EC2 starts at once to make them; 6 or more.
        snapshots: how many are kept ready; None is EC2's own number.
        template: id or name of the launch template that EC2 makes them with; in other regions than the build's, by
            region: `{"eu-west-1": "lt-..."}`. Without one EC2 uses the default VPC.
        version: of the template.
    """

    parallel: int = 6
    snapshots: int | None = None
    template: str | Mapping[str, str] = ""
    version: str = "$Default"


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How many older images of a name stay.

    Args:
        newest: that many, besides the new one; None is all of them.
        days: those made in the last so many days stay in any case.
        in_use: what happens to an old image which launch templates, auto scaling groups or instances still use:
            `refuse` leaves it and says so, `delete` deletes it all the same.
        dry_run: only say what would go.
    """

    newest: int | None = None
    days: float = 0
    in_use: Literal["refuse", "delete"] = "refuse"
    dry_run: bool = False


NOUNS: tuple[type, ...] = (Newest, Parameter, Filter, Volume, Spot, Role, Metadata, FastLaunch, Keep)


def read(value: Any) -> Any:
    """Turn JSON that `model.to_json` wrote for these nouns back into them; lists become tuples."""
    return settings.read(value, NOUNS)
