"""What a user writes to build on a VirtualBox machine of this host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

from bakery.disk.bases.base import Base
from bakery.drivers.qemu.source import SMALLEST_MEMORY, size
from bakery.drivers.shared.kinds import refuse_wrong_kinds
from bakery.drivers.user_data import text_of
from bakery.drivers.virtualbox.credentials import oem_strings
from bakery.errors import ImagefileError
from bakery.model import Problem, Source

MEBIBYTE = 1 << 20
MOST_VIDEO_MEMORY = 256
PRODUCT = frozenset({"product", "producturl", "vendor", "vendorurl", "version", "description", "eula"})
"""What an appliance can say about itself: VBoxManage's words."""


@dataclass(frozen=True, kw_only=True)
class VirtualBox(Source):
    """A virtual machine of VirtualBox, 7.0 or newer, on this host.

    Args:
        base: what it boots first: `Debian(...)`, `CloudImage(...)`, an image of this file or an `Artifact` (qcow2,
            raw, or one that this driver made), `Appliance("base.ova")`, `RegisteredMachine("name", snapshot="clean")`.
        memory: `"1G"`, `"512M"`, or bytes.
        cpus: processors that the guest sees.
        disk: size of its disk; the base's own size when not given. The base's size is the least. Not for appliances and
            registered machines.
        firmware: `bios`, `efi`, or `efi-secure`: EFI with secure boot and Microsoft's certificates.
        chipset: `piix3` or `ich9`.
        paravirtualization: what the guest is told that it runs on; `default` goes by `os_type`.
        tpm: a virtual TPM: `none`, `1.2`, `2.0`.
        graphics: the graphics controller.
        video_memory: of the graphics controller, `"16M"`.
        controller: how disks are attached.
        nic: VirtualBox's name for the network card.
        os_type: VirtualBox's word for the guest's system; `VBoxManage list ostypes`.
        host_access: let the guest reach services of this host at 10.0.2.2, which VirtualBox 7 refuses by default.
        audio: a sound card, and this host's sound.
        usb: `off`, or the USB controller.
        gui: show the machine's window in place of running it headless.
        modifyvm: more words for `VBoxManage modifyvm`, applied last. Everybody on this host can see them: no secrets.
        extra_data: entries for `VBoxManage setextradata`, taken out again before the image is made. No secrets.
        guest_properties: what a guest with the guest additions can read while the image is built, by
            `VBoxControl guestproperty get NAME`; taken out again before the image is made. No secrets.
        credentials: systemd credentials in the firmware's tables, by name: at most two, of some 200 characters each.
            Taken out again before the image is made. No secrets.
        guest_additions: `attach` puts VirtualBox's own ISO into a second CD drive while the image is built.
        format: of the image: `ova`, `vdi`, `vmdk` (stream-optimized) or `vhd`.
        macs: whether the appliance keeps the network card's address; without it every import gets a new one.
        product: what the appliance says about itself: `product`, `producturl`, `vendor`, `vendorurl`, `version`,
            `description`, `eula`.
        keep: how many older images of the same name stay, as `NAME@TIME.ova`, after a new one took their place.
        user: who logs in.
        user_data: cloud-init user data to use as they stand, for bases that need others than ours.
        host_key: `given`: the machine takes the host key that bakery makes for it, through cloud-init. `console`: it
            makes its own and prints it on the serial port, as cloud-init does, between `BEGIN SSH HOST KEY KEYS` and
            `END ...`.
        shutdown_timeout: seconds that the guest may take to power itself off.
    """

    driver: ClassVar[str] = "virtualbox"
    memory: str | int = "1G"
    cpus: int = 2
    disk: str | int | None = None
    firmware: Literal["bios", "efi", "efi-secure"] = "bios"
    chipset: Literal["piix3", "ich9"] = "piix3"
    paravirtualization: Literal["default", "none", "legacy", "minimal", "hyperv", "kvm"] = "default"
    tpm: Literal["none", "1.2", "2.0"] = "none"
    graphics: Literal["vmsvga", "vboxsvga", "vboxvga", "none"] = "vmsvga"
    video_memory: str | int = "16M"
    controller: Literal["sata", "ide", "scsi", "nvme", "virtio"] = "sata"
    nic: Literal["virtio", "82540EM", "82543GC", "82545EM", "Am79C970A", "Am79C973"] = "virtio"
    os_type: str = "Linux_64"
    host_access: bool = False
    audio: bool = False
    usb: Literal["off", "ohci", "ehci", "xhci"] = "off"
    gui: bool = False
    modifyvm: tuple[str, ...] = ()
    extra_data: Mapping[str, str] = field(default_factory=dict[str, str])
    guest_properties: Mapping[str, str] = field(default_factory=dict[str, str])
    credentials: Mapping[str, str] = field(default_factory=dict[str, str])
    guest_additions: Literal["none", "attach"] = "none"
    format: Literal["ova", "vdi", "vmdk", "vhd"] = "ova"
    macs: bool = False
    product: Mapping[str, str] = field(default_factory=dict[str, str])
    keep: int = 0
    user: str = "root"
    user_data: str | bytes = ""
    host_key: Literal["given", "console"] = "given"
    shutdown_timeout: float = 300.0

    def __post_init__(self) -> None:
        """Refuse values that VirtualBox would refuse later.

        Raises:
            ImagefileError: with the values that are allowed.
        """
        refuse_wrong_kinds(self)
        object.__setattr__(self, "modifyvm", _words(self.modifyvm))
        if self.user_data:
            object.__setattr__(self, "user_data", text_of(self.user_data))
        for name, allowed in _choices().items():
            if (value := getattr(self, name)) not in allowed:
                raise _wrong(f"{name}={value!r}", "no such choice", f"one of {', '.join(map(repr, allowed))}")
        if self.cpus < 1:
            raise _wrong(f"cpus={self.cpus}", "a machine needs a processor", "cpus=1 or more")
        if self.memory_bytes < SMALLEST_MEMORY:
            raise _wrong(f"memory={self.memory!r}", "too little to boot", 'at least "64M"; "1G" is usual')
        if not 0 <= self.video_mebibytes <= MOST_VIDEO_MEMORY:
            raise _wrong(f"video_memory={self.video_memory!r}", "too much", 'at most "256M"')
        if self.keep < 0:
            raise _wrong(f"keep={self.keep}", "not a number of images", "keep=0 lets the old one go")
        if self.shutdown_timeout <= 0:
            raise _wrong(f"shutdown_timeout={self.shutdown_timeout}", "no time at all", "seconds; 300 is usual")
        self._refuse_wrong_texts()
        _ = self.disk_bytes

    def mistakes(self) -> Iterator[Problem]:
        """Yield why a base of this host is none for this firmware or processor."""
        if isinstance(self.base, Base):
            yield from self.base.unfit("bios" if self.firmware == "bios" else "uefi")

    def _refuse_wrong_texts(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", self.os_type):
            raise _wrong(f"os_type={self.os_type!r}", "not a type of guest", "`VBoxManage list ostypes` shows them")
        if odd := [name for name in self.guest_properties if not re.fullmatch(r"/\S+", name)]:
            raise _wrong(f"guest_properties={odd}", "no name of a guest property", 'one such as "/Example/role"')
        if unknown := set(self.product) - PRODUCT:
            raise _wrong(f"product={sorted(unknown)}", "an appliance has no such text", ", ".join(sorted(PRODUCT)))
        oem_strings(self.credentials)

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return size(self.memory, field="memory")

    @property
    def video_mebibytes(self) -> int:
        """The graphics controller's memory in MiB."""
        return size(self.video_memory, field="video_memory") // MEBIBYTE

    @property
    def disk_bytes(self) -> int:
        """The disk's size in bytes; 0 for the base's own."""
        return 0 if self.disk is None else size(self.disk, field="disk")

    def settings(self) -> dict[str, Any]:
        """Return all but the base as JSON values: what an image of it must remember."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "base"}
        return {
            **shown,
            "modifyvm": list(self.modifyvm),
            "extra_data": dict(self.extra_data),
            "guest_properties": dict(self.guest_properties),
            "credentials": dict(self.credentials),
            "product": dict(self.product),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], *, base: Any = None) -> Self:
        """Read what `settings` returned; entries of other drivers are passed over."""
        names = {f.name for f in fields(cls)} - {"base"}
        return cls(base=base, **{name: value for name, value in settings.items() if name in names})


def _wrong(given: str, what: str, hint: str) -> ImagefileError:
    return ImagefileError(f"VirtualBox({given}): {what}", hint=hint)


def _words(value: Any) -> tuple[str, ...]:
    """Return the extra words; a single text in place of a list is a likely slip, and would become single letters."""
    if isinstance(value, str):
        raise _wrong(f"modifyvm={value!r}", "a list of words is needed", 'modifyvm=["--nested-hw-virt=on"]')
    return tuple(str(word) for word in value)


def _choices() -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(VirtualBox)
    allowed = {f.name: get_args(hints[f.name]) for f in fields(VirtualBox)}
    return {name: values for name, values in allowed.items() if values and all(isinstance(v, str) for v in values)}
