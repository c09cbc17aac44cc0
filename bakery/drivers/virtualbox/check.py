"""What would make a build fail, seen before anything is made; and what `bake doctor` says of VirtualBox."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePath

import psutil

from bakery.disk import image_files, qemuimg
from bakery.disk.bases.base import Base
from bakery.drivers.qemu.layers import virtual_size
from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.appliance_files import files_of
from bakery.drivers.virtualbox.api import sdk
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.machine import base_images, launch, registered
from bakery.drivers.virtualbox.machine.base_images import APPLIANCES, DISKS
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import BakeryError, DriverError
from bakery.model import Artifact, Problem
from bakery.util import tools

OLDEST = (7, 0, 0)
DEVICE = Path("/dev/vboxdrv")
INSTALL = "install VirtualBox 7.0 or newer: https://www.virtualbox.org/wiki/Downloads"


def check(box: VBoxManage, boot: VirtualBox) -> Iterator[Problem]:
    """Yield what would stop a build, all at once."""
    yield from tools.missing(qemuimg.PACKAGES)
    if not box.installed:
        yield Problem(what=f"there is no {box.program} on PATH", hint=INSTALL)
        return
    try:
        yield from _version(box)
        yield from _os_type(box, boot)
        yield from _base(box, boot)
        yield from _additions(box, boot)
    except BakeryError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint)
    yield from _no_module()
    yield from _memory(boot)


def _version(box: VBoxManage) -> Iterator[Problem]:
    version = box.version()
    if version < OLDEST:
        shown = ".".join(map(str, version))
        yield Problem(what=f"VirtualBox {shown} is too old", why="its VBoxManage takes other words", hint=INSTALL)


def _os_type(box: VBoxManage, boot: VirtualBox) -> Iterator[Problem]:
    if boot.os_type not in box.os_types():
        yield Problem(
            what=f"VirtualBox knows no guest of the type {boot.os_type!r}", hint="`VBoxManage list ostypes` shows them"
        )


def _base(box: VBoxManage, boot: VirtualBox) -> Iterator[Problem]:
    match boot.base:
        case Base():
            yield from boot.base.check()
        case Artifact() if not _usable(boot.base):
            yield Problem(
                what=f"the image {boot.base.name} is gone or was changed", why=boot.base.id, hint="bake it again"
            )
        case Artifact() if boot.base.format not in DISKS | APPLIANCES:
            yield Problem(what=f"VirtualBox cannot start from an image of the format {boot.base.format!r}")
        case Artifact(format="qcow2" | "raw") if 0 < boot.disk_bytes < (size := virtual_size(boot.base.path)):
            yield Problem(
                what=f"disk= is {boot.disk_bytes >> 20} MiB, its base {size >> 20} MiB: a disk cannot shrink",
                hint="leave out disk=, or make it as large",
            )
        case Appliance(location=path) if not boot.base.remote and not Path(path).is_file():
            yield Problem(what=f"there is no appliance {path}", why=f"{Path(path).absolute()} is no file")
        case Appliance(location=path) if path.endswith(".ovf"):
            files_of(Path(path).absolute())
        case RegisteredMachine():
            yield from registered.problems(box, boot.base)
        case str() | PurePath():
            error = base_images.no_base(boot.base)
            yield Problem(what=error.what, hint=error.hint)
        case _:  # a publisher's is a source
            yield from ()


def _additions(box: VBoxManage, boot: VirtualBox) -> Iterator[Problem]:
    if boot.guest_additions == "attach" and box.additions() is None:
        yield Problem(what=launch.NO_ADDITIONS, hint=launch.GET_ADDITIONS)


def _usable(image: Artifact) -> bool:
    """Say whether an image can be started from: one that we made must be unchanged, one named by its path be there."""
    return image_files.intact(image) if image.sha256 else Path(image.id).is_file()


def _memory(boot: VirtualBox) -> Iterator[Problem]:
    memory = psutil.virtual_memory()
    if boot.memory_bytes > memory.available:
        yield Problem(
            what=f"memory={boot.memory!r} is more than this host has free ({memory.available >> 20} MiB)",
            hint="a smaller memory=, or fewer --jobs",
            fatal=boot.memory_bytes > memory.total,
        )


def doctor(box: VBoxManage) -> Iterator[Problem]:
    """Say which VirtualBox there is, how it is asked, and whether it can start machines; a line each."""
    if not box.installed:
        yield Problem(what=f"there is no {box.program} on PATH", hint=INSTALL, fatal=False)
        return
    try:
        version = ".".join(map(str, box.version()))
    except DriverError as error:
        yield Problem(what=error.what, why=error.why, hint=error.hint, fatal=False)
        return
    reason = sdk.missing()
    looks = f"looks through it too ({reason})" if reason else "looks through pyvbox"
    yield Problem(what=f"VirtualBox {version}; bakery changes it through {box.program}, and {looks}", fatal=False)
    yield from _module()


def _module() -> Iterator[Problem]:
    """Say whether the kernel module is there, without which no machine starts."""
    problems = list(_no_module())
    yield from problems
    if not problems and platform.system() == "Linux":
        yield Problem(what="VirtualBox's kernel module is loaded", fatal=False)


def _no_module() -> Iterator[Problem]:
    """Yield what is wrong with the kernel module; not fatal, as VirtualBox has been built to do without."""
    if platform.system() != "Linux":
        return
    if not DEVICE.exists():
        yield Problem(
            what="VirtualBox's kernel module is not loaded, so no machine starts",
            why=f"there is no {DEVICE}",
            hint="`sudo modprobe vboxdrv`; `sudo /sbin/vboxconfig` builds it for this kernel (Debian: virtualbox-dkms)",
            fatal=False,
        )
    elif not os.access(DEVICE, os.R_OK | os.W_OK) and not Path("/usr/lib/virtualbox/VBoxHeadless").is_file():
        yield Problem(what=f"{DEVICE} may not be opened by this user", hint="join the group vboxusers", fatal=False)
