"""Hardware that is asked for less often: `VSphere(hardware=Hardware(nested=True))`. Plain frozen data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from bakery.drivers.qemu.source import size
from bakery.drivers.shared.settings import Texts, words
from bakery.errors import ImagefileError

CHOICES: Final = {"usb": ("usb2", "usb3"), "precision_clock": ("ptp", "ntp")}
SWITCHES = ("cpu_hot_add", "memory_hot_add", "nested", "vbs", "iommu", "sync_time", "upgrade_tools")
NUMBERS = ("version", "cpu_limit", "displays")
BOOTABLE = ("disk", "cdrom", "network", "floppy")
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Virtual hardware besides that which `VSphere(...)` names itself. None is the base's own. The image has it too.

    Args:
        version: of the virtual hardware, as in 19 for `vmx-19`; it can only go up.
        cpu_limit: MHz that all processors together may use.
        cpu_hot_add: processors can be added while the machine runs.
        memory_hot_add: memory can be.
        nested: the guest can run virtual machines of its own.
        video_memory: of the video card, `"16M"`.
        displays: of the video card.
        usb: add a controller: `usb2` or `usb3`.
        vgpu: add a part of a graphics card, by its profile: `grid_t4-4q`. The memory must be reserved.
        boot_order: of `disk`, `cdrom`, `network`, `floppy`.
        macs: addresses of the first network cards, for as long as the image is built and tested; the image gets new
            ones with each clone.
        vbs: Windows' virtualization-based security; needs EFI, secure boot, `nested` and `iommu`.
        iommu: Intel VT-d, or AMD's, for the guest.
        sync_time: VMware Tools set the guest's clock.
        upgrade_tools: VMware Tools are brought up to date at each start.
        precision_clock: add one that follows the host's: `ptp` or `ntp`.
    """

    version: int | None = None
    cpu_limit: int | None = None
    cpu_hot_add: bool | None = None
    memory_hot_add: bool | None = None
    nested: bool | None = None
    video_memory: str | int | None = None
    displays: int | None = None
    usb: Literal["usb2", "usb3"] | None = None
    vgpu: str | None = None
    boot_order: Texts = ()
    macs: Texts = ()
    vbs: bool | None = None
    iommu: bool | None = None
    sync_time: bool | None = None
    upgrade_tools: bool | None = None
    precision_clock: Literal["ptp", "ntp"] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked here.

        Raises:
            ImagefileError: with what is allowed.
        """
        for problem in _problems(self):
            raise ImagefileError(f"Hardware({problem}", hint="docs/vmware.md lists every option")

    @property
    def boots(self) -> tuple[str, ...]:
        """The order in which devices are tried."""
        return words(self.boot_order)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those of the first network cards."""
        return words(self.macs)

    @property
    def video_bytes(self) -> int | None:
        """The video card's memory, or None for the base's own."""
        return None if self.video_memory is None else size(self.video_memory, field="Hardware(video_memory")


def _problems(options: Hardware) -> Iterator[str]:
    for name in SWITCHES:
        if not isinstance(value := getattr(options, name), bool | None):
            yield f"{name}={value!r}): True or False"
    for name in NUMBERS:
        number: Any = getattr(options, name)
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            yield f"{name}={number!r}): a number, at least 1"
    for name, allowed in CHOICES.items():
        if (value := getattr(options, name)) is not None and value not in allowed:
            yield f"{name}={value!r}): must be one of {', '.join(map(repr, allowed))}"
    if odd := [word for word in options.boots if word not in BOOTABLE]:
        yield f"boot_order={odd}): of {', '.join(map(repr, BOOTABLE))}"
    if wrong := [text for text in options.addresses if not MAC.fullmatch(text)]:
        yield f"macs={wrong}): as in '00:50:56:00:12:34'"
    _ = options.video_bytes
