"""What users write: `VSphere(...)`. Plain frozen data, checked when it is made; no SDK is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

from bakery.drivers.qemu.source import SMALLEST_MEMORY, size
from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.kinds import refuse_wrong_kinds
from bakery.drivers.shared.settings import Texts, from_settings, to_settings, words
from bakery.drivers.vsphere.hardware_options import Hardware
from bakery.drivers.vsphere.options import NOUNS, ExtraDisk, Keep, LibraryItem, LinuxPrep, OvfOptions
from bakery.errors import ImagefileError
from bakery.model import Source
from bakery.redaction.secret import Secret

IMPORTED = (Appliance, LibraryItem)
"""Bases that no machine of the inventory is cloned from."""
LONGEST_NAME = 80
"""Characters of a machine's name that vCenter takes."""
GUESTINFO = "guestinfo."
LIBRARY = "library-"
"""How each kind of image begins that is an item of a content library."""
RESERVED = ("guestinfo.userdata", "guestinfo.metadata")
"""What cloud-init reads; the driver's own, with everything that begins like them."""


@dataclass(frozen=True, kw_only=True)
class VSphere(Source):
    """An image on VMware vSphere: in a vCenter, or on a single ESXi host. docs/vmware.md explains each option.

    Args:
        base: a template's or a machine's name or inventory path, `VSphereMachine("name", snapshot="clean")`,
            `Appliance("base.ova")`, `LibraryItem("library", "item")`, an `@bakery.image`, or an `Artifact` of this
            driver.
        server: name or address of the vCenter or host, with `:PORT` where it is not 443; None is VSPHERE_SERVER, or
            GOVC_URL.
        username: None is VSPHERE_USER, or GOVC_USERNAME.
        password: None is VSPHERE_PASSWORD, or GOVC_PASSWORD. It is in no plan, journal or image: `bake gc` in another
            process needs the variable.
        ca: file of the certificate authority that signed the server's certificate; None is GOVC_TLS_CA_CERTS, or the
            authorities of this host.
        insecure: the server's certificate is not verified, which every run says.
        datacenter: None is the base's own.
        cluster: a cluster or a host without one; None is the only one that there is.
        host: the host to run on; None leaves it to the cluster.
        resource_pool: None is the root of the cluster.
        folder: of the machines and of the image, below the datacenter's folder of machines; made if it is missing.
            None is that folder itself.
        datastore: None is the base's own.
        datastore_cluster: let vCenter choose a datastore of it, in place of `datastore`.
        network: the first network card's network; several are for the first cards, and cards are added where there are
            fewer. None is the base's own.
        clone: `full`, or `linked`: the machine's disk stands on the base's snapshot.
        ovf: what a base that is an OVF asks whoever imports it.
        cpus: processors; None is the base's own, here and below.
        cores_per_socket: of them.
        memory: `"2G"`, or bytes; a multiple of 4 MiB.
        cpu_reservation: MHz.
        memory_reservation: `"1G"`, or `all` of the memory.
        disk: size of the first disk; the base's size is the least.
        disks: more disks.
        nic: the network cards' kind.
        firmware: `bios` or `efi`. A system boots with that which it was installed for.
        secure_boot: with EFI.
        tpm: add a virtual TPM; vCenter needs a key provider for that.
        guest_id: vSphere's word for the guest's system, as `debian12_64Guest`.
        hardware: what is asked for less often: `Hardware(nested=True)`.
        extra_config: further settings of the machine, also of the image. No secrets.
        notes: of the image.
        attributes: custom attributes of the image.
        tags: of the image, as `category:name`.
        make_tags: make tags and categories that are missing; otherwise one that is missing is an error.
        transport: `ssh`; or `guest`: the guest operations of VMware Tools, which need no network and no SSH server.
        guest_password: of `user` in the guest, for `transport="guest"`; None is VSPHERE_GUEST_PASSWORD. It is in no
            plan, journal or log.
        address: `tools`: what VMware Tools report; `guestinfo.NAME`: what the guest writes there; or an address.
        address_within: only an address in this network counts, as in `10.0.0.0/8`.
        settle: seconds for which an address that does not answer yet must have stayed the same.
        user: login user; root is let in by user data. Others need sudo without a password.
        datasource: from where cloud-init reads our keys: `guestinfo`, the machine's settings; or `nocloud`, an ISO in
            its CD drive, for guests that do not read those.
        user_data: the user's own, beside ours: of any kind that cloud-init knows, packed by gzip or not.
        customization: the name of a guest customization on the vCenter, or `LinuxPrep(hostname="web", domain="test")`:
            what VMware Tools set at the first start of the machines that are built and tested.
        image: `template`; `snapshot`: a machine that is off, with a snapshot for linked clones; `machine`: without one;
            `ova`: a file on this host, exported with vSphere's own OVF and a manifest; `library-ovf` or
            `library-template`: an item of a content library.
        library: the name of that content library.
        keep: how many older images of the name stay.
        poll: longest pause between two questions about state, in seconds.
        launch_timeout: seconds that a clone may take.
        stop_timeout: seconds the guest may take to power off.
        image_timeout: seconds an image may take.
    """

    driver: ClassVar[str] = "vsphere"

    server: str | None = None
    username: str | None = None
    password: Secret | str | None = field(default=None, repr=False, metadata={"json": False})
    ca: str | None = None
    insecure: bool = False

    datacenter: str | None = None
    cluster: str | None = None
    host: str | None = None
    resource_pool: str | None = None
    folder: str | None = None
    datastore: str | None = None
    datastore_cluster: str | None = None
    network: Texts | None = None
    clone: Literal["full", "linked"] = "full"
    ovf: OvfOptions = field(default_factory=OvfOptions)

    cpus: int | None = None
    cores_per_socket: int | None = None
    memory: str | int | None = None
    cpu_reservation: int | None = None
    memory_reservation: str | int | None = None
    disk: str | int | None = None
    disks: tuple[ExtraDisk, ...] = ()
    nic: Literal["vmxnet3", "e1000e", "e1000"] | None = None
    firmware: Literal["bios", "efi"] | None = None
    secure_boot: bool | None = None
    tpm: bool = False
    guest_id: str | None = None
    hardware: Hardware = field(default_factory=Hardware)
    extra_config: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Texts | None = None
    make_tags: bool = False

    transport: Literal["ssh", "guest"] = "ssh"
    guest_password: Secret | str | None = field(default=None, repr=False, metadata={"json": False})
    address: str = "tools"
    address_within: str | None = None
    settle: float = 5.0
    user: str = "root"
    datasource: Literal["guestinfo", "nocloud"] = "guestinfo"
    user_data: str | bytes = ""

    customization: str | LinuxPrep | None = None
    image: Literal["template", "snapshot", "machine", "ova", "library-ovf", "library-template"] = "template"
    library: str | None = None
    keep: Keep = field(default_factory=Keep)
    poll: float = 1.0
    launch_timeout: float = 1800.0
    stop_timeout: float = 300.0
    image_timeout: float = 3600.0

    def __post_init__(self) -> None:
        """Check what can be checked without asking the server.

        Raises:
            ImagefileError: with what is allowed.
        """
        refuse_wrong_kinds(self)
        if self.user_data:
            from bakery.drivers import user_data

            text = user_data.text_of(self.user_data)
            object.__setattr__(self, "user_data", text)
            user_data.check(text, self.user)
        if isinstance(self.password, str):
            object.__setattr__(self, "password", Secret(self.password, "vsphere_password"))
        if isinstance(self.guest_password, str):
            object.__setattr__(self, "guest_password", Secret(self.guest_password, "vsphere_guest_password"))
        for problem in _problems(self):
            raise ImagefileError(f"VSphere({problem}", hint="docs/vmware.md lists every option")

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks of the first cards."""
        return words(self.network)

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The image's tags, as `category:name`."""
        return words(self.tags)

    @property
    def memory_bytes(self) -> int | None:
        """The memory, or None for the base's own."""
        return None if self.memory is None else size(self.memory, field="memory")

    @property
    def disk_bytes(self) -> int | None:
        """The first disk's size, or None for the base's own."""
        return None if self.disk is None else size(self.disk, field="disk")

    def settings(self) -> dict[str, Any]:
        """Return JSON from which `from_settings` makes this source again, without its base and its password."""
        return to_settings(self)

    @classmethod
    def from_settings(cls, data: Mapping[str, Any], **changes: Any) -> Self:
        """Make the source again that `settings` wrote down, with some fields changed."""
        return cls(**{**from_settings(cls, data, NOUNS), **changes})


def _problems(source: VSphere) -> Iterator[str]:
    yield from _choices(source)
    yield from _numbers(source)
    yield from _clones(source)
    yield from _images(source)
    if source.secure_boot and source.firmware == "bios":
        yield "secure_boot=True) needs firmware='efi'"
    for key in source.extra_config:
        if key.startswith(RESERVED):
            yield f"extra_config=...): {key!r} is cloud-init's; user_data=... is how to give it yours"
    for tag in source.tag_names:
        if not all(part.strip() for part in tag.partition(":")):
            yield f"tags={tag!r}): a tag has a category, as in 'environment:production'"
    yield from _addresses(source)


def _clones(source: VSphere) -> Iterator[str]:
    if source.datastore and source.datastore_cluster:
        yield "datastore_cluster=...) stands in place of datastore"
    if source.clone == "linked" and source.disk is not None:
        yield "disk=...) cannot change the disk of a linked clone, which stands on its base's"
    if isinstance(source.base, IMPORTED):
        if source.datastore_cluster:
            yield "datastore_cluster=...) is for clones; what is imported goes to a datastore=..."
        if source.clone == "linked":
            yield "clone='linked') needs a snapshot to stand on, and what is imported has none"


def _images(source: VSphere) -> Iterator[str]:
    if bool(source.library) != source.image.startswith(LIBRARY):
        yield "library=...) names the content library of image='library-ovf' or 'library-template', and of these alone"
    if source.image in {"template", "snapshot", "machine"}:
        return
    if source.attributes or source.tags:
        yield f"image={source.image!r}): attributes= and tags= are for an image that is a machine of the inventory"
    if source.datastore_cluster:
        yield f"image={source.image!r}): what is imported to be tested goes to a datastore=..., not to a cluster"


def _choices(source: VSphere) -> Iterator[str]:
    hints = get_type_hints(VSphere)
    for name in ("clone", "nic", "firmware", "transport", "datasource", "image"):
        allowed = [choice for kind in (hints[name], *get_args(hints[name])) for choice in get_args(kind)]
        values = [choice for choice in allowed if isinstance(choice, str)]
        optional = getattr(source, name) is None and name in {"nic", "firmware"}
        if not optional and getattr(source, name) not in values:
            yield f"{name}={getattr(source, name)!r}): must be one of {', '.join(map(repr, values))}"


def _numbers(source: VSphere) -> Iterator[str]:
    for name in ("cpus", "cores_per_socket", "cpu_reservation"):
        if (number := getattr(source, name)) is not None and number < 1:
            yield f"{name}={number}): at least 1"
    if source.cpus and source.cores_per_socket and source.cpus % source.cores_per_socket:
        yield f"cores_per_socket={source.cores_per_socket}): {source.cpus} processors cannot be divided so"
    if (memory := source.memory_bytes) is not None and (memory < SMALLEST_MEMORY or memory % (4 << 20)):
        yield f"memory={source.memory!r}): a multiple of 4 MiB, at least 64M"
    if source.memory_reservation not in {None, "all"}:
        size(source.memory_reservation or 0, field="memory_reservation")
    _ = source.disk_bytes
    for name in ("settle", "poll", "launch_timeout", "stop_timeout", "image_timeout"):
        if getattr(source, name) < 0:
            yield f"{name}={getattr(source, name)}): a time cannot be negative"


def _addresses(source: VSphere) -> Iterator[str]:
    if source.transport == "guest" and (source.address != "tools" or source.address_within):
        yield "transport='guest') has no address; address= and address_within= are for SSH"
    if source.transport != "guest" and source.guest_password is not None:
        yield "guest_password=...) is for transport='guest'; over SSH nobody logs in with a password"
    if source.address_within:
        try:
            ip_network(source.address_within)
        except ValueError as error:
            yield f"address_within={source.address_within!r}): {error}; as in '10.0.0.0/8'"
    if source.address == "tools" or source.address.startswith(GUESTINFO):
        return
    try:
        ip_address(source.address)
    except ValueError:
        yield f"address={source.address!r}): 'tools', 'guestinfo.NAME', or an address such as '192.0.2.7'"
