"""This host, by the fastest way that it has: a source that becomes a `Qemu` or an `Nspawn` when it is planned."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
from dataclasses import dataclass, fields
from typing import Any, Literal

from bakery.disk.bases.base import Base
from bakery.drivers.nspawn.source import Nspawn, Rooted
from bakery.drivers.qemu.source import Qemu
from bakery.errors import BakeryError, ImagefileError
from bakery.model import Source


@dataclass(frozen=True, kw_only=True)
class Local(Source):
    """A machine on this host: virtual where its processor runs guests, a booted container elsewhere, emulated at worst.

    In each case the image is a bootable disk, and the smoke tests boot it in QEMU. `bake plan` says which way is taken
    and why. The arguments are those that `Qemu` and `Nspawn` have in common.

    Args:
        base: what it boots first: `Debian(...)`, `CloudImage(...)`, an image of this file.
        memory: of the virtual machine, `"1G"` or bytes: the one that is built in, and the one that is tested.
        cpus: processors of the same.
        disk: size of the image's disk; blocks that hold nothing take no room.
        firmware: `bios` or `uefi`.
        accel: of the virtual machine: `auto`, `kvm`, `hvf`; `tcg` means emulation, so that a container is built in
            where there can be one.
        format: of the image: `qcow2` or `raw`.
        compression: of qcow2 images: `zstd`, `zlib` or `none`, as in `Qemu`.

    Raises:
        ImagefileError: a value is not one of those that exist.
    """

    base: Any
    memory: str | int = "1G"
    cpus: int = 2
    disk: str | int = "8G"
    firmware: Literal["bios", "uefi"] = "bios"
    accel: Literal["auto", "kvm", "hvf", "tcg"] = "auto"
    format: Literal["qcow2", "raw"] = "qcow2"
    compression: Literal["zstd", "zlib", "none"] = "zstd"

    def __post_init__(self) -> None:
        """Refuse what neither way could be.

        Raises:
            ImagefileError: with the values that are allowed.
        """
        try:
            _ = Nspawn(**self._options), Qemu(**self._options)
        except ImagefileError as error:
            what = re.sub(r"^(Nspawn|Qemu)\(", "Local(", error.what)  # as the user has written it
            raise ImagefileError(what, why=error.why, hint=error.hint) from None

    def choose(self) -> tuple[Source, str]:
        """Return the source that builds on this host, and why it is that one: a part of a sentence after "because"."""
        slow = _why_emulated(self.accel)
        if not slow:
            return Qemu(**self._options), "this host's processor runs virtual machines"
        refused = _why_no_container(self.base)
        if not refused:
            return Nspawn(**self._options), f"a virtual machine would be emulated: {slow}"
        return Qemu(**self._options), f"it is emulated, as {slow}, and there is no container, as {refused}"

    @property
    def _options(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@functools.cache
def _why_emulated(accel: str) -> str:
    """Say why no accelerator runs a guest on this host; empty where one does. It is tried once in a host's boot."""
    from bakery.drivers.qemu import acceleration
    from bakery.drivers.qemu.command import QEMU
    from bakery.state.project import cache_folder
    from bakery.util.context import WorkContext

    if accel == "tcg":
        return 'accel="tcg" says so'
    native = acceleration.NATIVE.get(platform.system(), "none") if accel == "auto" else accel
    if reason := acceleration.absent(native):
        return reason
    if shutil.which(QEMU) is None:
        return f"{QEMU} is not installed"
    try:
        return acceleration.trouble(native, WorkContext(cache=cache_folder(os.environ)))
    except BakeryError as error:
        return error.what


def _why_no_container(base: Any) -> str:
    """Say why no container with systemd inside can be booted here from a base; empty where one can."""
    from bakery.drivers.nspawn import disk_to_tree, host

    if platform.system() != "Linux":
        return f"{platform.system()} has none"
    problems = [*host.problems()]
    if isinstance(base, Base) and not isinstance(base, Rooted):
        problems += disk_to_tree.check()
    return next((problem.what for problem in problems if problem.fatal), "") or host.why_plain()
