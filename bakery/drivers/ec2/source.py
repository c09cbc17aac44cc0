"""What users write: `Ec2(...)`. Plain frozen data, checked when it is made; no SDK is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from bakery.drivers.ec2.api.account import Ec2Account
from bakery.drivers.ec2.options import NOUNS, FastLaunch, Filter, Keep, Metadata, Role, Spot, Volume
from bakery.drivers.shared.settings import Texts, from_settings, to_settings, words
from bakery.errors import ImagefileError
from bakery.model import Endpoint, Source

THROUGHPUT = 500
"""MiB/s of the root volume while an image is built: a gp3 volume's 3,000 IOPS allow up to 750."""
LEAST_PARALLEL = 6
COPY_MINUTES = range(15, 48 * 60 + 1, 15)
RAW = frozenset({"instance_policy", "launch_options", "image_options"})
"""Fields that hold AWS's own JSON."""


@dataclass(frozen=True, kw_only=True)
class Ec2(Source):
    """An image on Amazon EC2. Everything has a default but `base`; docs/aws.md explains each with an example.

    Args:
        base: an AMI's id, `Newest(...)`, `Parameter(...)`, an `@bakery.image` or an `Artifact`.
        region: None is the SDK's own (AWS_REGION, profile).
        profile: a profile of ~/.aws/config.
        roles: roles to take on, one after the other.
        endpoint_url: where the API is, for all services; also AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_EC2.
        poll: seconds between two questions about state, for all builds of the process together.
        instance_type: one, or several tried in order while there is no capacity.
        zone: one availability zone, or several tried in order for each type.
        spot: True or `Spot(max_price=...)`.
        user: login user; root is let in by user data. Others need sudo without a password.
        user_data: the user's own, beside ours: of any kind that cloud-init knows, packed by gzip or not.
        host_key: `given` in user data (cloud-init does it), or read from the `console` after the first boot.
        key_pair: also give our key as an EC2 key pair, for images without cloud-init.
        instance_profile: name of one that exists.
        instance_policy: an IAM policy as JSON data; a temporary role and profile are made from it.
        metadata: the metadata service; IMDSv2 alone by default.
        tenancy: `default`, `dedicated` or `host`.
        ebs_optimized: None leaves it to the type.
        nitro_enclave: enable enclaves.
        unlimited: CPU credits of burstable types without limit.
        launch_options: raw parameters of RunInstances, laid over ours.
        vpc: id or `Filter`; only needed for an own security group without a subnet.
        subnet: id, `Filter`, or several ids tried in order.
        security_groups: ids, or a `Filter`; none means one of our own that lets in only `ssh_from`.
        ssh_from: networks that may reach port 22; `auto` is this host's address.
        public_ip: True, False, or None for the subnet's own way.
        connect: over the `public`, `private` or `ipv6` address, or by Session Manager (`ssm`, no open port at all).
        address: turns what EC2 says into what this host can reach (NAT, port forwards): a mapping, or a function of the
            module, from address to `host` or `host:port`.
        bastion: the host to go through, with its key.
        volumes: disks of the build machine; the root volume is gp3 with high throughput unless it is named here.
        image_volumes: disks of the image, where they differ from what was captured.
        encrypt: True, or a KMS key: from launch on, so no second copy is made.
        capture_with: `snapshot` (CreateSnapshot + RegisterImage, quick) or `image` (CreateImage).
        naming: `dated` names an AMI `NAME-20261122T150102Z`, so that there is an image at any moment; `exact` is the
            name alone: the old one must then go just before the new one gets its name.
        replace: with `exact`, let the old image of that name go.
        keep: what happens to older images of the name.
        keep_checkpoints: how many images of `@bakery.task(checkpoint=True)` stay for each build.
        copy_to: regions, or a mapping from region to a KMS key ("" for the default).
        copy_minutes: 15 to 2880, in steps of 15: minutes that the copy of a snapshot may take; AWS bills for that.
        share_with: account ids, `all`, organisation and OU ARNs.
        share_snapshots: the accounts may also use the snapshots.
        description: of the AMI.
        boot_mode: `uefi`, `uefi-preferred`, `legacy-bios`; None is the base's.
        imds_support: `v2.0` makes machines of the image ask for IMDSv2.
        ena: enhanced networking.
        tpm: `v2.0`.
        deprecate_after: days until the AMI is deprecated.
        protect: deregistration protection: True, or `cooldown`.
        fast_launch: for Windows: True or `FastLaunch(...)`.
        product_codes: of the AWS Marketplace.
        image_options: raw parameters of RegisterImage (or CreateImage), laid over ours.
        tags: of the image and its snapshots.
        run_tags: of everything temporary.
        stop_timeout: seconds the guest may take to power off.
        image_timeout: seconds a snapshot or image may take without progress.
    """

    driver: ClassVar[str] = "ec2"

    region: str | None = None
    profile: str | None = None
    roles: tuple[Role, ...] = ()
    endpoint_url: str | None = None
    poll: float = 1.0

    instance_type: Texts = "t3.small"
    zone: Texts = ()
    spot: bool | Spot = False
    user: str = "root"
    user_data: str | bytes = ""
    host_key: Literal["given", "console"] = "given"
    key_pair: bool = False
    instance_profile: str | None = None
    instance_policy: Mapping[str, Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    tenancy: Literal["default", "dedicated", "host"] = "default"
    ebs_optimized: bool | None = None
    nitro_enclave: bool = False
    unlimited: bool = False
    launch_options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    vpc: str | Filter | None = None
    subnet: Texts | Filter | None = None
    security_groups: tuple[str, ...] | Filter = ()
    ssh_from: Texts = "auto"
    public_ip: bool | None = None
    connect: Literal["public", "private", "ipv6", "ssm"] = "public"
    address: Mapping[str, str] | Callable[[str], str] | None = field(default=None, metadata={"json": False})
    bastion: Endpoint | None = None

    volumes: tuple[Volume, ...] = ()
    image_volumes: tuple[Volume, ...] = ()
    encrypt: bool | str = False

    capture_with: Literal["snapshot", "image"] = "snapshot"
    naming: Literal["dated", "exact"] = "dated"
    replace: bool = False
    keep: Keep = field(default_factory=Keep)
    keep_checkpoints: int = 5
    copy_to: tuple[str, ...] | Mapping[str, str] = ()
    copy_minutes: int | None = None
    share_with: tuple[str, ...] = ()
    share_snapshots: bool = False
    description: str = ""
    boot_mode: Literal["uefi", "uefi-preferred", "legacy-bios"] | None = None
    imds_support: Literal["v2.0"] | None = None
    ena: bool = True
    tpm: Literal["v2.0"] | None = None
    deprecate_after: float | None = None
    protect: bool | Literal["cooldown"] = False
    fast_launch: bool | FastLaunch = False
    product_codes: tuple[str, ...] = ()
    image_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    run_tags: Mapping[str, str] = field(default_factory=dict[str, str])
    stop_timeout: float = 600.0
    image_timeout: float = 1800.0

    def __post_init__(self) -> None:
        """Check what can be checked without asking AWS.

        Raises:
            ImagefileError: with what is allowed.
        """
        if self.user_data:
            from bakery.drivers import user_data

            text = user_data.text_of(self.user_data)
            object.__setattr__(self, "user_data", text)
            user_data.check(text, self.user)
        for problem in _problems(self):
            raise ImagefileError(f"Ec2({problem}", hint="docs/aws.md lists every option with an example")

    @property
    def account(self) -> Ec2Account:
        """Where and as whom the API is spoken to."""
        return Ec2Account(
            region=self.region, profile=self.profile, roles=self.roles, endpoint_url=self.endpoint_url, poll=self.poll
        )

    @property
    def types(self) -> tuple[str, ...]:
        """Instance types in the order of preference."""
        return words(self.instance_type)

    @property
    def copies(self) -> dict[str, str]:
        """Regions to copy to, each with its KMS key or an empty text."""
        if isinstance(self.copy_to, Mapping):
            return dict(self.copy_to)
        return dict.fromkeys(self.copy_to, "")

    def settings(self) -> dict[str, Any]:
        """Return JSON from which `from_settings` makes this source again, without its base and hooks."""
        return to_settings(self)

    @classmethod
    def from_settings(cls, data: Mapping[str, Any], **changes: Any) -> Self:
        """Make the source again that `settings` wrote down, with some fields changed."""
        return cls(**{**from_settings(cls, data, NOUNS, raw=RAW), **changes})


CHOICES: Mapping[str, tuple[Any, ...]] = {
    "host_key": ("given", "console"),
    "connect": ("public", "private", "ipv6", "ssm"),
    "capture_with": ("snapshot", "image"),
    "naming": ("dated", "exact"),
    "tenancy": ("default", "dedicated", "host"),
    "boot_mode": (None, "uefi", "uefi-preferred", "legacy-bios"),
    "protect": (False, True, "cooldown"),
}
WHO = re.compile(r"\d{12}|all|arn:[^:]+:organizations::.+:(organization|ou)/.+")


def _problems(source: Ec2) -> Iterator[str]:
    """Tell what is wrong with the values, each as it should be read after `Ec2(`."""
    for name, allowed in CHOICES.items():
        if getattr(source, name) not in allowed:
            yield f"{name}={getattr(source, name)!r}): allowed are {', '.join(map(repr, allowed))}"
    for name in ("share_with", "security_groups", "copy_to", "product_codes"):
        if isinstance(getattr(source, name), str):
            yield f"{name}={getattr(source, name)!r}): a tuple is needed, as in ({getattr(source, name)!r},)"
    for name in ("tags", "run_tags"):
        for key in getattr(source, name):
            if key.startswith(("aws:", "bakery:")):
                yield f"{name}={{{key!r}: ...}}): names that begin with aws: or bakery: are taken"
    for who in source.share_with:
        if not WHO.fullmatch(who):
            yield f"share_with=({who!r},)): neither an account id, nor 'all', nor the ARN of an organisation or OU"
    yield from _contradictions(source)


def _contradictions(source: Ec2) -> Iterator[str]:
    """Values that are well by themselves, but not together."""
    if not source.types:
        yield "instance_type=()): at least one type is needed"
    if source.copy_minutes is not None and source.copy_minutes not in COPY_MINUTES:
        yield f"copy_minutes={source.copy_minutes}): 15 to 2880, in steps of 15"
    if isinstance(source.fast_launch, FastLaunch) and source.fast_launch.parallel < LEAST_PARALLEL:
        yield f"fast_launch=FastLaunch(parallel={source.fast_launch.parallel})): EC2 wants 6 or more"
    if source.instance_profile and source.instance_policy:
        yield "instance_profile=..., instance_policy=...): one or the other"
    if source.connect == "public" and source.public_ip is False:
        yield "connect='public', public_ip=False): there would be no address to connect to"
    if source.share_with and source.encrypt is True:
        yield "encrypt=True, share_with=...): nobody can use an image under this account's default key; name a key"
