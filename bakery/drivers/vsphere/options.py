"""The small nouns of a `VSphere` source: what to clone, more disks, how many older images stay. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from typing import Literal

from bakery.drivers.qemu.source import size
from bakery.drivers.shared.kinds import refuse_wrong_kinds
from bakery.drivers.shared.settings import Texts
from bakery.drivers.vsphere.hardware_options import Hardware
from bakery.errors import ImagefileError

GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class VSphereMachine:
    """A machine of the inventory to clone, at one of its snapshots.

    Args:
        machine: its name, or its inventory path (`/DC0/vm/bases/debian-12`).
        snapshot: the snapshot's name; the newest of several of that name.
    """

    machine: str
    snapshot: str

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        for name in ("machine", "snapshot"):
            if not getattr(self, name):
                raise ImagefileError(
                    f"VSphereMachine({name}=...) is empty", hint="VSphereMachine('debian-12', snapshot='clean')"
                )


@dataclass(frozen=True)
class LibraryItem:
    """An item of a content library to deploy: an OVF, or a machine's template.

    Args:
        library: the library's name.
        item: the item's name.
    """

    library: str
    item: str

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        for name in ("library", "item"):
            if not getattr(self, name):
                raise ImagefileError(f"LibraryItem({name}=...) is empty", hint="LibraryItem('images', 'debian-12')")


@dataclass(frozen=True, kw_only=True)
class OvfOptions:
    """What an OVF asks whoever imports it: for `base=Appliance(...)`, and for a library's item that is an OVF.

    Args:
        networks: what the OVF's networks are here: `{"nat": "VM Network"}`. Those that are not named are joined to the
            network of the same name, to the first of `network=`, or to the only one that there is.
        properties: the OVF's properties, by their whole names. Everybody who may read the machine sees them: no
            secrets.
        deployment: which of the OVF's configurations; empty for its default.
        disks: `thin`, `thick`, or `eager`: thick and written with zeros.
        accept_eulas: agree to the licences that are in the OVF, which is refused otherwise.
    """

    networks: Mapping[str, str] = field(default_factory=dict[str, str])
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    deployment: str = ""
    disks: Literal["thin", "thick", "eager"] = "thin"
    accept_eulas: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        refuse_wrong_kinds(self)
        for name in ("networks", "properties"):
            if odd := [key for key, value in getattr(self, name).items() if not isinstance(value, str)]:
                raise ImagefileError(
                    f"OvfOptions({name}=...): {odd[0]!r} is no text", hint="vSphere keeps no secrets there"
                )
        if self.disks not in {"thin", "thick", "eager"}:
            raise ImagefileError(f"OvfOptions(disks={self.disks!r}): no such choice", hint="thin, thick or eager")

    @property
    def provisioning(self) -> str:
        """The word for `disks` that vSphere has."""
        return "eagerZeroedThick" if self.disks == "eager" else self.disks


@dataclass(frozen=True, kw_only=True)
class LinuxPrep:
    """What VMware Tools set in a Linux guest at its first start: vSphere's guest customization.

    Args:
        hostname: without its domain.
        domain: of the host name.
        address: of the first network card, with its prefix, as in `192.0.2.7/24`; `dhcp` for that and all others.
        gateway: for an address that is given.
        dns: addresses of name servers.
        search: domains in which names are looked for.
        time_zone: as in `Europe/Berlin`; empty leaves the guest's.
    """

    hostname: str
    domain: str
    address: str = "dhcp"
    gateway: str = ""
    dns: Texts = ()
    search: Texts = ()
    time_zone: str = ""

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        for name in ("hostname", "domain"):
            if not getattr(self, name):
                raise ImagefileError(f"LinuxPrep({name}=...) is empty", hint="LinuxPrep(hostname='web', domain='test')")
        if self.address != "dhcp":
            _ = self.interface
        elif self.gateway:
            raise ImagefileError("LinuxPrep(gateway=...): DHCP says which", hint="address='192.0.2.7/24'")

    @property
    def interface(self) -> IPv4Interface:
        """The address that is given, with its network."""
        try:
            found = IPv4Interface(self.address)
        except ValueError as error:
            raise ImagefileError(f"LinuxPrep(address={self.address!r}): {error}", hint="192.0.2.7/24") from error
        if "/" not in self.address:
            raise ImagefileError(f"LinuxPrep(address={self.address!r}): no prefix", hint=f"{self.address}/24")
        return found


@dataclass(frozen=True, kw_only=True)
class ExtraDisk:
    """One more disk of the machine, empty, which is in the image too.

    Args:
        size: `"20G"`, or bytes.
        thin: space is taken when it is written.
        eager: all of it is written with zeros when it is made; not with `thin`.
        controller: it is attached to the first controller of that kind with room, which is added if there is none.
    """

    size: str | int
    thin: bool = True
    eager: bool = False
    controller: Literal["pvscsi", "lsilogic", "sata", "nvme"] = "pvscsi"

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        if self.controller not in {"pvscsi", "lsilogic", "sata", "nvme"}:
            raise ImagefileError(
                f"ExtraDisk(controller={self.controller!r}): no such choice", hint="pvscsi, lsilogic, sata or nvme"
            )
        if self.eager and self.thin:
            raise ImagefileError("ExtraDisk(eager=True): a thin disk takes no space beforehand", hint="thin=False")
        _ = self.bytes

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return size(self.size, field="ExtraDisk(size")


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How many older images of a name stay, as `NAME@TIME`, once the new one stands.

    Args:
        newest: that many, besides the new one; None is all of them. One to which linked clones belong stays in any
            case, and that is said.
        days: those made in the last so many days stay in any case.
    """

    newest: int | None = 0
    days: float = 0

    def __post_init__(self) -> None:
        """Check what can be checked here."""
        if self.newest is not None and self.newest < 0:
            raise ImagefileError(f"Keep(newest={self.newest}): not a number of images", hint="Keep(newest=3)")
        if self.days < 0:
            raise ImagefileError(f"Keep(days={self.days}): not a number of days", hint="Keep(days=7)")


NOUNS: tuple[type, ...] = (VSphereMachine, LibraryItem, OvfOptions, LinuxPrep, ExtraDisk, Hardware, Keep)
