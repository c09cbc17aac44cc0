"""What users write: `OpenStack(...)`. Plain frozen data, checked when it is made; no SDK is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, ClassVar, Literal, Self

from bakery.drivers.openstack.options import NOUNS, VISIBILITIES, Old, Volume
from bakery.drivers.shared.settings import Texts, from_settings, to_settings, words
from bakery.errors import ImagefileError
from bakery.model import Endpoint, Source


@dataclass(frozen=True, kw_only=True)
class OpenStack(Source):
    """An image on OpenStack. docs/openstack.md explains each option with an example.

    Args:
        base: an image's id or name, `GlanceImage(...)`, `GlanceUrl(...)`, `CloudImage(...)` (uploaded for the build),
            an `@bakery.image` or an `Artifact`.
        cloud: an entry of clouds.yaml; None is OS_CLOUD, or the OS_* variables.
        region: None is the entry's own.
        interface: `public`, `internal` or `admin`; None is the entry's own.
        poll: longest pause between two questions about state, in seconds.
        flavor: name or id of one flavor, or several tried in order while there is no room.
        zone: one availability zone, or several tried in order for each flavor.
        network: names or ids; a port is made in each. None is the only network there is.
        network_cidr: choose the network by a subnet of it, as in `10.0.0.0/8`: the first that lies inside.
        ports: ids of ports that exist, used in place of `network`.
        fixed_address: the address in the first network; None is whichever is free.
        floating_network: the network that a floating address is taken from; None is no floating address.
        floating_address: a floating address that the project has and that is free, in place of a new one.
        connect: over the `floating`, `fixed` or `ipv6` address; None is floating where there is one, else fixed.
        bastion: the host to go through, with its host key, and the key to log in with.
        security_groups: names or ids; none means one of our own that lets in only `ssh_from`.
        ssh_from: networks that may reach port 22; `auto` is this host's address.
        user: login user; root is let in by user data. Others need sudo without a password.
        user_data: the user's own, beside ours: of any kind that cloud-init knows, packed by gzip or not.
        host_key: `given` in user data (cloud-init does it); or read from the `console`: then the user data are the
            user's alone, the login key comes from the key pair, and `user` is who the image gives that key to.
        config_drive: None leaves it to the cloud.
        server_group: id of one.
        metadata: of the servers.
        hints: raw scheduler hints.
        server_options: raw fields of the request for a server, laid over ours.
        volume: boot from a volume: its size in GiB, or `Volume(...)`.
        properties: of the image: `os_distro`, `hw_disk_bus`, ...
        tags: of the image.
        visibility: `private`, `shared`, `community`, `public`; None is `shared` with members, else `private`.
        members: project ids that may use the image.
        accept: for a member, the entry of clouds.yaml with which it accepts the image.
        min_disk: GiB a machine of it must have; None is what the cloud says.
        min_ram: MiB a machine of it must have.
        protect: the image cannot be deleted before that is taken back.
        old: what happens to older images of the name.
        download: also leave the image's data as a local file beside the imagefile.
        checkpoints: save the machine as an image after each step. Slow on most clouds; off by default.
        keep_checkpoints: how many of them stay for each build.
        launch_timeout: seconds until a server is built.
        stop_timeout: seconds the guest may take to power off.
        image_timeout: seconds an image may take.
    """

    driver: ClassVar[str] = "openstack"

    cloud: str | None = None
    region: str | None = None
    interface: Literal["public", "internal", "admin"] | None = None
    poll: float = 1.0

    flavor: Texts = ()
    zone: Texts = ()
    network: Texts | None = None
    network_cidr: str | None = None
    ports: tuple[str, ...] = ()
    fixed_address: str | None = None
    floating_network: str | None = None
    floating_address: str | None = None
    connect: Literal["floating", "fixed", "ipv6"] | None = None
    bastion: Endpoint | None = None
    security_groups: tuple[str, ...] = ()
    ssh_from: Texts = "auto"

    user: str = "root"
    user_data: str | bytes = ""
    host_key: Literal["given", "console"] = "given"
    config_drive: bool | None = None
    server_group: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    hints: Mapping[str, Any] = field(default_factory=dict[str, Any])
    server_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    volume: int | Volume | None = None

    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()
    visibility: Literal["private", "shared", "community", "public"] | None = None
    members: tuple[str, ...] = ()
    accept: Mapping[str, str] = field(default_factory=dict[str, str])
    min_disk: int | None = None
    min_ram: int | None = None
    protect: bool = False
    old: Old = field(default_factory=Old)
    download: bool = False
    checkpoints: bool = False
    keep_checkpoints: int = 5

    launch_timeout: float = 600.0
    stop_timeout: float = 300.0
    image_timeout: float = 3600.0

    def __post_init__(self) -> None:
        """Check what can be checked without asking the cloud.

        Raises:
            ImagefileError: with what is allowed.
        """
        if self.user_data:
            from bakery.drivers import user_data

            text = user_data.text_of(self.user_data)
            object.__setattr__(self, "user_data", text)
            if self.host_key == "given":  # else they stand alone, as they are
                user_data.check(text, self.user)
        for problem in _problems(self):
            raise ImagefileError(f"OpenStack({problem}", hint="docs/openstack.md lists every option")

    @property
    def flavors(self) -> tuple[str, ...]:
        """Flavors in the order of preference."""
        return words(self.flavor)

    @property
    def zones(self) -> tuple[str | None, ...]:
        """Zones in the order of preference; one None leaves it to the cloud."""
        return words(self.zone) or (None,)

    @property
    def boot_volume(self) -> Volume | None:
        """The volume to boot from, if any."""
        return Volume(size=self.volume) if isinstance(self.volume, int) else self.volume

    @property
    def shown(self) -> str:
        """The kept image's visibility."""
        return self.visibility or ("shared" if self.members else "private")

    def settings(self) -> dict[str, Any]:
        """Return JSON from which `from_settings` makes this source again, without its base."""
        return to_settings(self)

    @classmethod
    def from_settings(cls, data: Mapping[str, Any], **changes: Any) -> Self:
        """Make the source again that `settings` wrote down, with some fields changed."""
        return cls(**{**from_settings(cls, data, NOUNS), **changes})


def _problems(source: OpenStack) -> Iterator[str]:
    yield from _choices(source)
    if not source.flavors:
        yield "flavor=...) is required: the name of a flavor, or several in the order of preference"
    if source.connect == "floating" and not (source.floating_network or source.floating_address):
        yield "connect='floating') needs floating_network=... or floating_address=..."
    if source.ports and (source.network or source.network_cidr or source.fixed_address):
        yield "ports=...) stands in place of network, network_cidr and fixed_address"
    if source.bastion and not (source.bastion.key and source.bastion.host_key):
        yield "bastion=Endpoint(...)) needs host_key='ssh-ed25519 ...', and key='~/.ssh/id_...' or key='agent'"
    if source.members and source.shown != "shared":
        yield f"members=...) needs visibility='shared', not {source.visibility!r}"
    for member in source.accept:
        if member not in source.members:
            yield f"accept=...): {member} is not among the members"
    for tag in source.tags:
        if not 0 < len(tag) <= 255:  # noqa: PLR2004  Glance's own limit
            yield f"tags=...): {tag[:20]!r} has {len(tag)} characters, Glance takes 1 to 255"
    yield from _networks(source)


def _choices(source: OpenStack) -> Iterator[str]:
    choices: dict[str, tuple[Any, ...]] = {
        "interface": (None, "public", "internal", "admin"),
        "connect": (None, "floating", "fixed", "ipv6"),
        "host_key": ("given", "console"),
        "visibility": (None, *VISIBILITIES),
    }
    for name, allowed in choices.items():
        if getattr(source, name) not in allowed:
            listed = ", ".join(repr(choice) for choice in allowed)
            yield f"{name}={getattr(source, name)!r}): must be one of {listed}"


def _networks(source: OpenStack) -> Iterator[str]:
    given = [] if source.ssh_from == "auto" else list(words(source.ssh_from))
    for one in [*given, *words(source.network_cidr)]:
        try:
            ip_network(one)
        except ValueError as error:
            yield f"ssh_from or network_cidr: {one!r}): {error}; as in '203.0.113.0/24'"
